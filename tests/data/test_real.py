"""Real data, from the folder that REGEX_DATA names."""

import os
from pathlib import Path

import pytest

from regex_lib.data import CATALOGUE, load_data

ROWS = {
    "sst": (6920, 872, 1821),
    "imdb": (20000, 2000, 2500),
    "yelp": (5002, 1000, 2000),
    "amaz_pantry": (20000, 2000, 5000),
    "amaz_instr": (7405, 1307, 1537),
    "amaz_music_mdsd": (1377, 200, 399),
    "eraser_movies": (1600, 200, 199),
    "tweet_sentiment": (13114, 1000, 2000),
}
NOT_SPLIT_AT_SPACES = {"sst": 3}
"""Rows with a token that has a space in it, which no two sets of words agree on."""


@pytest.fixture
def real_data():
    folder = os.environ.get("REGEX_DATA")
    if not folder:
        pytest.skip("REGEX_DATA names no folder of real data")
    return Path(folder)


@pytest.mark.parametrize("name", ROWS)
def test_real_data(real_data, name):
    if not (real_data / name).is_dir():
        pytest.skip(f"REGEX_DATA has no folder {name}")
    loaded = load_data(name)
    assert tuple(loaded.num_rows.items()) == tuple(zip(("train", "validation", "test"), ROWS[name], strict=True))
    for split in loaded.values():
        assert set(split.unique("label")) == set(range(CATALOGUE[name].num_labels))
        assert all(text.strip() for text in split["text"])


@pytest.mark.parametrize("name", ["sst", "eraser_movies", "tweet_sentiment"])
def test_real_rationales_are_aligned(real_data, name):
    if not (real_data / name).is_dir():
        pytest.skip(f"REGEX_DATA has no folder {name}")
    rows = [row for split in load_data(name).values() for row in split]
    assert all(len(row["rationale"]) == len(row["tokens"]) for row in rows)
    assert {mark for row in rows for mark in row["rationale"]} == {0, 1}
    assert sum(row["text"].split() != row["tokens"] for row in rows) == NOT_SPLIT_AT_SPACES.get(name, 0)
