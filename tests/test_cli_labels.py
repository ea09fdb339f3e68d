"""Whose labels the commands compare with: the model's, by the names that both sides give their classes."""

import sys

import pandas as pd
import pytest
import torch

from regex_lib import cli
from regex_lib.cli.shared import with_labels_of
from regex_lib.data import load_data
from regex_lib.errors import UserError


@pytest.fixture
def accuracy_of(make_tiny, monkeypatch, tmp_path):
    """The accuracy that is told of a model with classes of these names which always says one of them."""

    def evaluate(names, said):
        classifier = make_tiny("bert", num_labels=len(names))
        classifier.label_names = names
        with torch.no_grad():
            classifier.model.classifier.bias[names.index(said)] = 1e3
        classifier.save(tmp_path / "run")
        options = ("--data", "reviews:films", "--attributions", "random", "--metrics", "sufficiency")
        output = tmp_path / "table.csv"
        monkeypatch.setattr(
            sys, "argv", ["regex-lib", "evaluate", str(tmp_path / "run"), *options, "--output", str(output)]
        )
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
        return pd.read_csv(output)["accuracy"][0]

    return evaluate


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("negative", "neutral", "positive"), "positive"),
        (("NEGATIVE", "NEUTRAL", "POSITIVE"), "POSITIVE"),  # as models of the hub write them
        (("negative", "positive"), "positive"),
        (("LABEL_0", "LABEL_1"), "LABEL_1"),  # which say nothing: the data's numbers are the model's
    ],
)
def test_labels_are_the_models_by_their_names(accuracy_of, names, said):
    labels = load_data("reviews:films")["test"]["label"][:]
    assert accuracy_of(names, said) == pytest.approx(sum(labels) / len(labels))


@pytest.mark.parametrize(
    "names",
    [
        ("NEG", "NEU", "POS"),
        ("LABEL_0", "LABEL_1", "LABEL_2"),  # one class more than the data has: its second need not be the data's
        tuple(f"{stars} stars" for stars in range(1, 6)),
        ("Positive sentiment", "Negative sentiment"),
    ],
)
def test_classes_of_other_names_are_not_taken_by_their_numbers(make_tiny, names):
    classifier = make_tiny(num_labels=len(names))
    classifier.label_names = names
    with pytest.raises(UserError, match=rf"not among the model's classes {names[0]}, .*set classifier\.label_names"):
        with_labels_of(classifier, load_data("reviews:films")["test"], "reviews:films")


def test_labels_of_a_file_are_the_models_numbers(make_tiny):
    rows = load_data("reviews:films")["test"]
    assert with_labels_of(make_tiny(num_labels=3), rows, "mine.csv") is rows


def test_rationales_are_read_by_the_same_labels(make_tiny, monkeypatch, tmp_path):
    names = ("negative", "neutral", "positive")
    asked = {}

    def select_then_predict(support, splits, *options, **settings):
        asked.update({split: rows["label"][:] for split, rows in splits.items()})
        return pd.DataFrame(columns=["data"])

    classifier = make_tiny("bert", num_labels=len(names))
    classifier.label_names = names
    classifier.save(tmp_path / "run")
    monkeypatch.setattr("regex_lib.rationales.select_then_predict", select_then_predict)
    command = ["rationales", str(tmp_path / "run"), "--data", "reviews:films", "--model", "minilm"]
    monkeypatch.setattr(sys, "argv", ["regex-lib", *command])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    data = load_data("reviews:films")
    assert asked == {split: [2 * label for label in data[split]["label"][:]] for split in ("train", "test")}
