"""Broken and degenerate models and texts: a defined result that says so, or a clear error."""

import math

import datasets
import pytest
import torch
from reference.linear_classifier import LinearClassifier

from regex_lib.attributions import METHODS
from regex_lib.errors import UserError
from regex_lib.evaluation import METRICS, Metric, classify, evaluate_faithfulness

EVERY = [name for name in METRICS if name != "max_sensitivity"] + ["max_sensitivity"]
ATTRIBUTIONS = ["random", "input_x_gradient"]


def table_of(classifier, texts, metrics=EVERY, **options):
    rows = datasets.Dataset.from_dict({"text": list(texts), "label": [1] * len(texts)})
    return evaluate_faithfulness(classifier, rows, ATTRIBUTIONS, metrics, **options).table


def test_the_degenerate_share_is_in_every_table(make_tiny):
    for metric in METRICS:
        metrics = [metric] if METRICS[metric].measures_faithfulness else [metric, "loo_tau"]
        table = table_of(make_tiny(), ["a fine film"], metrics)
        assert "degenerate_share" in table
        assert "accuracy" in table


@pytest.mark.parametrize("odds", [1.0, 3.0])
def test_a_constant_classifier(odds):
    """Nothing can be removed that changes anything, and no ranking is better than another."""
    table = table_of(LinearClassifier({}, odds), ["a b c", "d e"])
    assert table["degenerate_share"].tolist() == [1.0, 1.0]
    for metric, value in {
        "sufficiency": 1.0, "comprehensiveness": 0.0, "eraser_sufficiency": 0.0, "eraser_comprehensiveness": 0.0,
        "decision_flip": 0.0, "flip_fraction": 1.0, "monotonicity": 1.0, "soft_sufficiency": 1.0,
        "soft_comprehensiveness": 0.0, "infidelity": 0.0,
    }.items():  # fmt: skip
        assert table[metric].tolist() == [value, value], metric
    for metric in ("naopc_sufficiency", "naopc_comprehensiveness", "loo_tau"):
        assert table[metric].isna().all()
        assert table[f"{metric}_undefined"].tolist() == [1.0, 1.0]


def test_a_classifier_at_chance_has_defined_scores_beside_its_accuracy(make_tiny):
    """Untrained: whatever its scores are, the accuracy stands next to them."""
    classifier = make_tiny("bert", seed=3)
    rows = datasets.Dataset.from_dict({"text": ["a fine film", "dull plot", "never", "great"], "label": [0, 1, 0, 1]})
    table = evaluate_faithfulness(classifier, rows, ATTRIBUTIONS, EVERY).table
    assert table["accuracy"].between(0, 1).all()
    defined = [name for name in EVERY if METRICS[name].always_defined]
    assert table[defined].apply(lambda column: column.map(math.isfinite)).all(axis=None)


def test_a_text_with_the_prediction_of_the_empty_one_counts_as_degenerate():
    """The factors cancel out: p(x) is p of the empty text, to the last digit or not."""
    classifier = LinearClassifier({"a": 2.0, "b": 0.5, "c": 4.0}, odds=3.0)
    table = table_of(classifier, ["a b", "a c"])
    assert table["degenerate_share"].tolist() == [0.5, 0.5]
    assert table[["sufficiency", "comprehensiveness"]].apply(lambda column: column.between(0, 1)).all(axis=None)


def test_a_text_of_one_word():
    """The word is the whole rationale at every ratio."""
    table = table_of(LinearClassifier({"a": 9.0}), ["a"], replacement="mask")
    expected = {
        "sufficiency": 1.0, "comprehensiveness": 0.4 / 0.4001, "eraser_sufficiency": 0.0,
        "eraser_comprehensiveness": 0.4, "decision_flip": 1.0, "flip_fraction": 1.0, "monotonicity": 1.0,
        "infidelity": 0.0, "degenerate_share": 0.0, "naopc_comprehensiveness_undefined": 1.0, "loo_tau_undefined": 1.0,
    }  # fmt: skip
    for metric, value in expected.items():
        assert table[metric].tolist() == pytest.approx([value, value]), metric
    assert table[["soft_sufficiency", "soft_comprehensiveness"]].apply(lambda c: c.between(0, 1)).all(axis=None)


def test_undefined_scores_are_left_out_of_the_mean_and_counted():
    classifier = LinearClassifier({"a": 9.0, "b": 2.0})
    both, two = (table_of(classifier, texts, ["loo_tau"]) for texts in (["a", "a b"], ["a b"]))
    assert both["loo_tau"].tolist() == two["loo_tau"].tolist()
    assert both["loo_tau_undefined"].tolist() == [0.5, 0.5]
    assert two["loo_tau_undefined"].tolist() == [0.0, 0.0]


def test_a_curve_averages_the_examples_that_have_a_score(make_tiny, monkeypatch):
    def compute(explained, answers):
        return torch.tensor([[math.nan, 0.25], [0.5, 0.75]], dtype=torch.float64)

    def nothing(explained):
        return torch.zeros_like(explained.chunk.removals.features.mask)[:, None]

    monkeypatch.setitem(METRICS, "mine", Metric(compute, nothing, always_defined=False))
    rows = datasets.Dataset.from_dict({"text": ["a", "a film"], "label": [1, 1]})
    report = evaluate_faithfulness(make_tiny(), rows, ["random"], ["mine"], ratios=(0.2, 0.5))
    assert report.curves["mine"].tolist() == [0.5, 0.5]
    assert report.table[["mine", "mine_undefined"]].values.tolist() == [[0.625, 0.5]]


def test_data_with_other_columns_are_refused(make_tiny):
    rows = datasets.Dataset.from_dict({"sentence": ["a film"], "label": [1]})
    for work in (evaluate_faithfulness, classify):
        with pytest.raises(UserError, match="the data has no column 'text', only: sentence, label; rename one"):
            work(make_tiny(), rows)


def test_logits_that_are_no_numbers_are_an_error(make_tiny):
    classifier = make_tiny()
    classifier.model.classifier.bias.data[0] = torch.nan
    with pytest.raises(UserError, match="the model's output for example 1 is not finite: check its weights"):
        table_of(classifier, ["a fine film", "dull"])  # the shorter text comes first
    rows = datasets.Dataset.from_dict({"text": ["a fine film", "dull"], "label": [1, 1]})
    with pytest.raises(UserError, match="the model's output for example 1 is not finite: check its weights"):
        classify(classifier, rows)


@pytest.mark.parametrize("level", ["token", "word"])
def test_scores_that_are_no_numbers_are_an_error(make_tiny, monkeypatch, level):
    def broken(classifier, batch, target):
        scores = batch.input_ids.double()
        scores[0, 1] = torch.nan
        return scores

    monkeypatch.setitem(METHODS, "input_x_gradient", broken)
    message = "attribution 'input_x_gradient' gives scores for example 1 that are not numbers"
    with pytest.raises(UserError, match=message):
        table_of(make_tiny(), ["a fine film", "dull"], level=level)


def test_infinite_scores_are_ranked_unless_they_cancel_out_within_a_word(make_tiny, monkeypatch):
    def infinite(classifier, batch, target):
        scores = torch.zeros(batch.input_ids.shape)
        scores[:, 1], scores[:, 2] = torch.inf, -torch.inf
        return scores

    monkeypatch.setitem(METHODS, "input_x_gradient", infinite)
    assert table_of(make_tiny(), ["dull-ish"], ["comprehensiveness"])["comprehensiveness"].notna().all()
    with pytest.raises(UserError, match="gives scores for example 0 that are not numbers"):
        table_of(make_tiny(), ["dull-ish"], ["comprehensiveness"], level="word")
