"""Families of data sets, and labels that mean the same in each."""

import datasets
import pytest

from regex_lib.data import CATALOGUE, DOMAINS, label_map, load_data, map_labels, other_domains
from regex_lib.errors import UserError

TWO, THREE = ("negative", "positive"), ("negative", "neutral", "positive")


def test_every_member_of_a_family_is_in_the_catalogue_once():
    members = [member for family in DOMAINS.values() for member in family]
    assert len(set(members)) == len(members)
    assert set(members) < set(CATALOGUE)


def test_the_others_of_a_family():
    assert other_domains("imdb") == ("sst", "yelp")
    assert other_domains("amaz_instr") == ("amaz_digimu", "amaz_pantry", "amaz_music_mdsd")
    with pytest.raises(UserError, match="'reviews' is in no family of domains"):
        other_domains("reviews")


def test_labels_are_mapped_by_their_names():
    assert label_map(TWO, TWO) == {0: 0, 1: 1}
    assert label_map(TWO, THREE) == {0: 0, 1: 2}
    assert label_map(THREE, TWO) == {0: 0, 2: 1}
    assert label_map(("positive", "negative"), TWO) == {0: 1, 1: 0}
    assert label_map(TWO, ("POSITIVE", "Negative")) == {0: 1, 1: 0}
    assert label_map(("a", "A"), ("A", "a")) == {0: 1, 1: 0}
    with pytest.raises(UserError, match=r"not among the model's classes LABEL_0, LABEL_1.*set classifier\.label_names"):
        label_map(TWO, ("LABEL_0", "LABEL_1"))


def test_rows_without_a_class_are_dropped_and_the_others_keep_everything_else():
    rows = datasets.Dataset.from_dict({"text": list("abcd"), "label": [2, 1, 0, 2], "stars": [5, 3, 1, 4]})
    mapped = map_labels(rows, "amaz_pantry", TWO)
    assert mapped["text"][:] == ["a", "c", "d"]
    assert mapped["label"][:] == [1, 0, 1]
    assert mapped["stars"][:] == [5, 1, 4]
    assert mapped.features["label"].dtype == "int64"


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_rows_of_any_format_are_mapped(kind):
    rows = datasets.Dataset.from_dict({"text": list("abc"), "label": [2, 1, 0]}).with_format(kind)
    mapped = map_labels(rows, "amaz_pantry", TWO)
    assert mapped.with_format(None)["label"][:] == [1, 0]
    assert mapped.format["type"] == kind
    assert map_labels(rows, "amaz_pantry", THREE) is rows


def test_nothing_changes_where_the_labels_mean_the_same():
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]})
    assert map_labels(rows, "sst", TWO) is rows


def test_what_cannot_be_mapped_is_refused():
    neutral = datasets.Dataset.from_dict({"text": ["a"], "label": [1]})
    with pytest.raises(UserError, match="'mine' is not in the catalogue"):
        map_labels(neutral, "mine", TWO)
    with pytest.raises(UserError, match="no label of 'amaz_pantry' has a class in the model: negative, positive"):
        map_labels(neutral, "amaz_pantry", TWO)


def test_the_stand_in_has_the_labels_that_its_own_column_says(real_data):
    if not (real_data / "amaz_music_mdsd").is_dir():
        pytest.skip("REGEX_DATA has no folder amaz_music_mdsd")
    rows = load_data("amaz_music_mdsd")["test"]
    assert map_labels(rows, "amaz_music_mdsd", THREE)["label"][:] == rows["label3"][:]
