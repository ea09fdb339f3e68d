import re
import subprocess
import sys

import pytest

from regex_lib.data import CATALOGUE, describe
from regex_lib.data.catalogue import catalogue_names, find_source

SOURCES = pytest.mark.parametrize("source", CATALOGUE.values(), ids=CATALOGUE)


def test_names_are_those_of_the_design():
    assert list(CATALOGUE) == [
        *("reviews", "sst", "imdb", "yelp", "amaz_digimu", "amaz_pantry", "amaz_instr", "amaz_music_mdsd"),
        *("eraser_movies", "tweet_sentiment"),
    ]


@SOURCES
def test_entries_are_complete(source):
    assert CATALOGUE[source.name] is source
    assert source.title
    assert source.edition
    assert source.licence
    assert source.description.endswith(".")
    assert len(set(source.label_names)) == source.num_labels >= 2
    assert "\n" not in source.description + source.edition


@SOURCES
def test_hub_sources_are_pinned_and_have_three_splits(source):
    if source.hub is None:
        return
    assert re.fullmatch(r"[0-9a-f]{40}", source.hub.revision)
    carved = {"validation"} if source.hub.validation_every else set()
    assert set(source.hub.files) | carved == {"train", "validation", "test"}
    assert not set(source.hub.files) & carved


def test_find_source_knows_parts_of_bundled_data_only():
    assert find_source("reviews:gadgets") is CATALOGUE["reviews"]
    assert find_source("sst:films") is None
    assert find_source("reviews:") is None
    assert "reviews:gadgets" in catalogue_names()


def test_describe_has_a_row_for_each():
    table = describe()
    assert list(table["name"]) == list(CATALOGUE)
    assert list(table.columns) == ["name", "title", "labels", "licence", "where from", "edition"]
    assert set(table["where from"].str.split(":").str[0]) == {"bundled", "hub", "your copy, in REGEX_DATA"}


def test_import_is_light():
    heavy = ("torch", "transformers", "datasets", "pandas", "huggingface_hub")
    code = f"import sys, regex_lib.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
