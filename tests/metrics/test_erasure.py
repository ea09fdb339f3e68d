"""Normalised sufficiency and comprehensiveness: by hand, against a plain reference, and their guarantees."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import faithfulness
from reference.unchecked import without_type_checks

from regex_lib.masks import replace, token_budget, top_k_mask
from regex_lib.metrics import (
    RATIOS,
    area_over_perturbation_curve,
    is_degenerate,
    normalised_comprehensiveness,
    normalised_sufficiency,
)

many = settings(deadline=None, max_examples=100)
PROBABILITY = st.floats(0, 1)
TRIPLES = st.lists(st.tuples(PROBABILITY, PROBABILITY, PROBABILITY), min_size=1, max_size=6)
every_score = pytest.mark.parametrize("score", [normalised_sufficiency, normalised_comprehensiveness])


def columns(rows):
    return torch.tensor(rows, dtype=torch.float64).unbind(-1)


# By hand: each of four words multiplies the odds of class 1, and prior odds are even.

ODDS = torch.tensor([1.0, 3.0, 2.0, 0.5, 3.0])  # by token id; 0 is padding and changes nothing
IDS = torch.tensor([[1, 2, 3, 4]])
CONTENT = torch.ones(1, 4, dtype=torch.bool)
SPAN = 9 / 10 - 1 / 2 + 1e-4  # what removing everything costs, with the stabiliser


def probability(input_ids):
    odds = ODDS[input_ids].prod(-1)
    return odds / (1 + odds)


def curves(attribution):
    """Sufficiency and comprehensiveness at each ratio, by the library's own masks."""
    full, empty = probability(IDS), probability(replace(IDS, CONTENT, 0))
    sufficiency, comprehensiveness = [], []
    for ratio in RATIOS:
        rationale = top_k_mask(torch.tensor([attribution]), CONTENT, token_budget(CONTENT, ratio))
        kept, removed = probability(replace(IDS, ~rationale, 0)), probability(replace(IDS, rationale, 0))
        sufficiency.append(normalised_sufficiency(full, kept, empty).item())
        comprehensiveness.append(normalised_comprehensiveness(full, removed, empty).item())
    return sufficiency, comprehensiveness


def test_the_toy_classifier_predicts_what_the_hand_calculations_assume():
    assert probability(IDS).item() == pytest.approx(9 / 10)
    assert probability(torch.zeros_like(IDS)).item() == pytest.approx(1 / 2)


def test_a_ranking_by_the_true_weights_scores_as_calculated_by_hand():
    sufficiency, comprehensiveness = curves([math.log(3), math.log(2), math.log(0.5), math.log(3)])
    # One token (ratios .02, .1 and .2): kept 3/4, removed 3/4. Two tokens (.5): kept 9/10, removed 1/2.
    assert sufficiency == pytest.approx([1 - 0.15 / SPAN] * 3 + [1.0])
    assert comprehensiveness == pytest.approx([0.15 / SPAN] * 3 + [0.4 / SPAN])


def test_a_reversed_ranking_scores_as_calculated_by_hand():
    sufficiency, comprehensiveness = curves([-3.0, -2.0, -1.0, -4.0])
    # One token: kept 1/3, below the empty text; removed 18/19, above the full one. Two: kept 1/2, removed 9/10.
    assert sufficiency == pytest.approx([0.0] * 3 + [1 - 0.4 / SPAN], abs=1e-6)
    assert comprehensiveness == pytest.approx([0.0] * 4, abs=1e-6)


@pytest.mark.parametrize(
    ("convention", "sufficiency", "comprehensiveness"), [("mean", 0.71882, 0.53112), ("acl2022", 0.57506, 0.42489)]
)
def test_the_area_over_the_toy_curve_as_calculated_by_hand(convention, sufficiency, comprehensiveness):
    areas = area_over_perturbation_curve(torch.tensor(curves([4.0, 2.0, 1.0, 3.0])), convention=convention)
    assert areas.tolist() == pytest.approx([sufficiency, comprehensiveness], abs=1e-5)


# Against the reference


@many
@given(TRIPLES)
def test_both_scores_equal_the_reference(rows):
    full, other, empty = columns(rows)
    sufficiency = [faithfulness.normalised_sufficiency(*row) for row in rows]
    comprehensiveness = [faithfulness.normalised_comprehensiveness(*row) for row in rows]
    assert normalised_sufficiency(full, other, empty).tolist() == pytest.approx(sufficiency, abs=1e-9)
    assert normalised_comprehensiveness(full, other, empty).tolist() == pytest.approx(comprehensiveness, abs=1e-9)


@many
@given(TRIPLES)
def test_single_precision_is_enough_where_the_normaliser_means_something(rows):
    full, other, empty = columns(rows)
    sound = ~is_degenerate(full, empty)
    for score in (normalised_sufficiency, normalised_comprehensiveness):
        single = score(full.float(), other.float(), empty.float())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single[sound].double(), score(full, other, empty)[sound], atol=2e-5, rtol=0)


@many
@given(st.lists(PROBABILITY, min_size=1, max_size=6), st.sampled_from(["mean", "acl2022"]))
def test_the_area_equals_the_reference(scores, convention):
    actual = area_over_perturbation_curve(torch.tensor(scores, dtype=torch.float64), convention=convention)
    assert actual.item() == pytest.approx(faithfulness.area_over_perturbation_curve(scores, convention), abs=1e-12)


# Guarantees


@every_score
@many
@given(rows=TRIPLES)
def test_scores_lie_between_0_and_1(score, rows):
    values = score(*columns(rows))
    assert ((values >= 0) & (values <= 1)).all()


@many
@given(PROBABILITY, PROBABILITY, st.lists(PROBABILITY, min_size=2, max_size=8))
def test_keeping_more_of_the_prediction_never_lowers_sufficiency(full, empty, kept):
    kept = torch.tensor(sorted(kept), dtype=torch.float64)
    values = normalised_sufficiency(torch.full_like(kept, full), kept, torch.full_like(kept, empty))
    assert (values.diff() >= 0).all()


@many
@given(PROBABILITY, PROBABILITY, st.lists(PROBABILITY, min_size=2, max_size=8))
def test_removing_more_of_the_prediction_never_lowers_comprehensiveness(full, empty, removed):
    removed = torch.tensor(sorted(removed, reverse=True), dtype=torch.float64)
    values = normalised_comprehensiveness(torch.full_like(removed, full), removed, torch.full_like(removed, empty))
    assert (values.diff() >= 0).all()


@many
@given(TRIPLES)
def test_keeping_everything_is_sufficient_and_keeping_nothing_is_not(rows):
    full, _, empty = columns(rows)
    sound = ~is_degenerate(full, empty)
    assert (normalised_sufficiency(full, full, empty) == 1).all()
    assert (normalised_sufficiency(full, empty, empty)[sound] <= 0.01).all()  # 0, but for the stabiliser


@many
@given(TRIPLES)
def test_removing_everything_is_comprehensive_and_removing_nothing_is_not(rows):
    full, _, empty = columns(rows)
    sound = ~is_degenerate(full, empty)
    assert (normalised_comprehensiveness(full, empty, empty)[sound] >= 0.99).all()  # 1, but for the stabiliser
    assert (normalised_comprehensiveness(full, full, empty) == 0).all()


@many
@given(TRIPLES)
def test_a_prediction_that_rises_counts_as_one_that_stays(rows):
    full, other, empty = columns(rows)
    higher = torch.maximum(full, other)
    assert torch.equal(normalised_sufficiency(full, higher, empty), normalised_sufficiency(full, full, empty))
    assert not normalised_comprehensiveness(full, higher, empty).any()


def test_scores_keep_the_shape_of_their_inputs():
    full, other, empty = torch.rand(3, 2, 4, 5)
    for score in (normalised_sufficiency, normalised_comprehensiveness):
        table = score(full, other, empty)
        assert table.shape == (2, 4, 5)
        assert table[1, 2, 3] == score(full[1, 2, 3], other[1, 2, 3], empty[1, 2, 3])
    assert area_over_perturbation_curve(table).shape == (2, 4)


def test_one_full_and_one_empty_prediction_serve_every_ratio_of_a_text():
    full, empty, other = torch.rand(3, 1), torch.rand(3, 1), torch.rand(3, 4)
    for score in (normalised_sufficiency, normalised_comprehensiveness):
        assert torch.equal(score(full, other, empty), score(full.expand(3, 4), other, empty.expand(3, 4)))


# Where the normaliser says nothing


@pytest.mark.parametrize(
    ("full", "empty", "expected"),
    [(0.9, 0.5, False), (0.9, 0.895, True), (0.9, 0.9, True), (0.5, 0.9, True), (1.0, 0.0, False), (0.0, 0.0, True)],
)
def test_an_example_is_degenerate_when_removing_everything_changes_almost_nothing(full, empty, expected):
    assert is_degenerate(torch.tensor(full), torch.tensor(empty)).item() is expected


@every_score
def test_a_prediction_that_an_empty_text_raises_still_has_finite_scores(score):
    for full, other, empty in itertools.product([0.0, 0.5, 1.0], repeat=3):
        assert score(*columns([(full, other, empty)])).isfinite().all()


def test_where_the_empty_text_is_predicted_alike_both_scores_jump_from_end_to_end():
    full, empty = torch.tensor([0.9]), torch.tensor([0.9])
    assert normalised_sufficiency(full, full, empty).item() == 1
    assert normalised_sufficiency(full, torch.tensor([0.2]), empty).item() == 0
    assert normalised_comprehensiveness(full, full, empty).item() == 0
    assert normalised_comprehensiveness(full, torch.tensor([0.2]), empty).item() == 1


# The area over the curve


def test_four_perfect_scores_have_the_maximum_of_their_convention():
    perfect = torch.ones(len(RATIOS))
    assert area_over_perturbation_curve(perfect).item() == 1
    assert area_over_perturbation_curve(perfect, convention="acl2022").item() == pytest.approx(0.8)


def test_the_ratios_are_those_of_the_protocol():
    assert RATIOS == (0.02, 0.1, 0.2, 0.5)


def test_an_unknown_convention_is_refused():
    with without_type_checks(), pytest.raises(ValueError, match="convention must be 'mean' or 'acl2022', got 'sum'"):
        area_over_perturbation_curve(torch.ones(4), convention="sum")
