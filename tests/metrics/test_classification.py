"""Accuracy, macro-F1 and calibration, against a loop and against scikit-learn."""

from fractions import Fraction

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import calibration

from regex_lib.metrics import (
    calibration_error_terms,
    classification_report,
    expected_calibration_error,
    macro_f1_terms,
)

many = settings(deadline=None, max_examples=100)


def one_sided(confidences, correct):
    """Three-class rows with a given top probability, predicted as class 0, and labels that make them right or wrong."""
    top = torch.tensor(confidences, dtype=torch.float64)
    rows = torch.stack([top, torch.zeros_like(top), torch.zeros_like(top)], dim=-1)
    return rows, torch.tensor([0 if right else 1 for right in correct])


@many
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=12), st.integers(1, 30))
def test_calibration_equals_the_loop_over_bins(examples, bins):
    confidences, correct = map(list, zip(*examples, strict=True))
    # The loop has exact edges, the library those of float64: keep clear of them by more than their difference.
    confidences = [c if abs(c * bins - round(c * bins)) > 1e-9 else 0.0 for c in confidences]
    actual = expected_calibration_error(*one_sided(confidences, correct), bins=bins)
    assert actual == pytest.approx(calibration.expected_calibration_error(confidences, correct, bins), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(dtype):
    for bins in (2, 10, 15, 25, 29, 41):  # 7 / 25 * 25, 15 / 29 * 29 and 7 / 41 * 41 are not whole numbers in floats
        for edge in range(1, bins):
            # Right on the edge and wrong just below it: their gaps partly cancel only inside one bin.
            low, high = float(Fraction(2 * edge - 1, 2 * bins)), edge / bins
            rows, labels = one_sided([low, high], [False, True])
            together = abs(1 - low - high) / 2
            assert expected_calibration_error(rows.to(dtype), labels, bins=bins) == pytest.approx(together, abs=1e-6)


def test_a_confidence_just_above_an_edge_belongs_to_the_bin_above():
    above = torch.nextafter(torch.tensor(0.5, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)).item()
    apart = expected_calibration_error(*one_sided([0.4, above], [False, True]), bins=2)
    together = expected_calibration_error(*one_sided([0.4, 0.5], [False, True]), bins=2)
    assert apart == pytest.approx((0.4 + 0.5) / 2)
    assert together == pytest.approx(0.1 / 2)


@many
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=12), st.integers(1, 30))
def test_calibration_error_lies_between_0_and_1_and_a_single_bin_gives_the_overall_gap(examples, bins):
    confidences, correct = map(list, zip(*examples, strict=True))
    rows, labels = one_sided(confidences, correct)
    overall = abs(sum(correct) - sum(confidences)) / len(correct)
    assert expected_calibration_error(rows, labels, bins=1) == pytest.approx(overall, abs=1e-9)
    assert overall - 1e-9 <= expected_calibration_error(rows, labels, bins=bins) <= 1


@pytest.mark.parametrize(
    ("confidence", "right", "expected"), [(1.0, True, 0), (1.0, False, 1), (0.0, True, 1), (0.0, False, 0)]
)
def test_full_and_no_confidence_have_a_bin(confidence, right, expected):
    assert expected_calibration_error(*one_sided([confidence], [right])) == expected


def test_a_probability_that_rounding_took_above_one_still_has_a_bin():
    rows = torch.tensor([[1.0 + 1e-6, 0.0]])
    assert expected_calibration_error(rows, torch.tensor([0])) == pytest.approx(1e-6, rel=0.1)


def test_a_calibrated_model_has_no_error():
    rows, labels = one_sided([0.75] * 4 + [0.5] * 2, [True, True, True, False, True, False])
    assert expected_calibration_error(rows, labels) == 0


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 2**16))
def test_the_report_agrees_with_scikit_learn(examples, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(examples, classes, generator=generator).softmax(-1)
    labels = torch.randint(classes, (examples,), generator=generator)
    report = classification_report(probabilities, labels)
    truth, predicted = labels.numpy(), probabilities.argmax(-1).numpy()
    expected = sklearn.metrics.classification_report(
        truth, predicted, labels=range(classes), output_dict=True, zero_division=0.0
    )
    assert report["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    assert report["macro_f1"] == pytest.approx(expected["macro avg"]["f1-score"])
    assert report["ece"] == expected_calibration_error(probabilities, labels)


def test_a_class_that_never_occurs_counts_as_zero_in_macro_f1():
    probabilities = torch.eye(3)[[0, 1, 1]]
    report = classification_report(probabilities, torch.tensor([0, 1, 1]))
    assert report == {"accuracy": 1.0, "macro_f1": pytest.approx(2 / 3), "ece": 0.0}


def test_a_class_that_is_never_predicted_counts_as_zero_in_macro_f1():
    report = classification_report(torch.eye(2)[[0, 0, 0, 0]], torch.tensor([0, 0, 0, 1]))
    assert report["accuracy"] == 0.75
    assert report["macro_f1"] == pytest.approx((2 * 3 / 7) / 2)
    assert report["ece"] == pytest.approx(0.25)


# Terms of the examples


def drawn_predictions(examples, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (examples,), generator=generator)
    logits = torch.randn(examples, classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(examples), labels] += 1
    return logits.softmax(dim=1), labels


@many
@given(st.integers(1, 40), st.integers(2, 4), st.integers(0, 1000))
def test_the_terms_of_the_examples_add_up_to_the_score(examples, classes, seed):
    probabilities, labels = drawn_predictions(examples, classes, seed)
    confidence, predicted = probabilities.max(dim=1)
    terms = macro_f1_terms(labels, predicted)
    expected = sklearn.metrics.f1_score(labels, predicted, labels=labels.unique(), average="macro", zero_division=0.0)
    assert terms.shape == labels.shape
    assert terms.mean().item() == pytest.approx(expected)
    terms = calibration_error_terms(confidence, predicted == labels)
    assert terms.mean().item() == pytest.approx(expected_calibration_error(probabilities, labels), abs=1e-12)


@many
@given(st.integers(1, 40), st.integers(2, 4), st.integers(0, 3), st.integers(0, 1000))
def test_classes_that_no_label_has_count_with_0_where_there_are_said_to_be_more(examples, classes, more, seed):
    probabilities, labels = drawn_predictions(examples, classes + more, seed)
    labels = labels % classes
    terms = macro_f1_terms(labels, probabilities.argmax(dim=1), classes + more)
    assert terms.shape == labels.shape
    assert terms.mean().item() == pytest.approx(classification_report(probabilities, labels)["macro_f1"])


@many
@given(st.integers(1, 40), st.integers(2, 4), st.integers(0, 1000))
def test_the_number_of_classes_changes_nothing_where_every_one_has_labels(examples, classes, seed):
    probabilities, labels = drawn_predictions(examples, classes, seed)
    predicted = probabilities.argmax(dim=1)
    assert torch.equal(macro_f1_terms(labels, predicted, len(labels.unique())), macro_f1_terms(labels, predicted))


def test_fewer_classes_than_the_labels_have_are_refused():
    with pytest.raises(ValueError, match="the labels have 2 classes, got classes=1"):
        macro_f1_terms(torch.tensor([0, 1]), torch.tensor([0, 1]), 1)


def test_the_spread_of_the_terms_is_what_other_examples_would_change():
    probabilities, labels = drawn_predictions(400, 3)
    confidence, predicted = probabilities.max(dim=1)
    random = np.random.default_rng(0)
    draws = [random.integers(0, 400, 400) for _ in range(2000)]
    f1 = [sklearn.metrics.f1_score(labels[draw], predicted[draw], average="macro") for draw in draws]
    terms = macro_f1_terms(labels, predicted)
    assert (terms.std() / 400**0.5).item() == pytest.approx(np.std(f1), rel=0.1)
    # A single bin, whose sign no draw turns: the error is then a mean like any other.
    overconfident = (confidence + 1) / 2
    terms = calibration_error_terms(overconfident, predicted == labels, bins=1)
    gaps = [abs((overconfident - (predicted == labels).double())[draw].mean().item()) for draw in draws]
    assert (terms.std() / 400**0.5).item() == pytest.approx(np.std(gaps), rel=0.1)
