"""Data sets: what there is, and one function that loads it, your own file, or a repository of the hub."""

from regex_lib.data.catalogue import CATALOGUE, DataSource, describe, find_source
from regex_lib.data.loading import load_data

__all__ = ["CATALOGUE", "DataSource", "describe", "find_source", "load_data"]
