"""Data sets: what there is, and one function that loads it, your own file, or a repository of the hub."""

from regex_lib.data.catalogue import CATALOGUE, DataSource, describe, find_source
from regex_lib.data.domains import DOMAINS, label_map, map_labels, other_domains
from regex_lib.data.loading import load_data
from regex_lib.data.shortcuts import SHORTCUTS, Shortcut, ShortcutKind, plant

__all__ = [
    "CATALOGUE",
    "DOMAINS",
    "SHORTCUTS",
    "DataSource",
    "Shortcut",
    "ShortcutKind",
    "describe",
    "find_source",
    "label_map",
    "load_data",
    "map_labels",
    "other_domains",
    "plant",
]
