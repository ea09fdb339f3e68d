"""Tests and effect sizes of paired scores: against their definitions, scipy, and where there is nothing to compare."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import paired
from reference.unchecked import without_type_checks

from regex_lib.metrics import effect_size, holm, wilcoxon_signed_rank, win_rate

many = settings(deadline=None, max_examples=60)
FEW = st.lists(st.integers(-5, 5), min_size=1, max_size=7)
P_VALUES = st.lists(st.floats(0, 1), max_size=8)


def pairs(differences, base=0.5):
    """Two systems with these differences; eighths, so that nothing is rounded."""
    theirs = torch.full((len(differences),), base, dtype=torch.float64)
    return theirs + torch.tensor(differences, dtype=torch.float64) / 8, theirs


# Wilcoxon


@many
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=9, unique=True), st.lists(st.booleans(), min_size=9, max_size=9)
)
def test_few_untied_pairs_are_tested_exactly(sizes, signs):
    differences = [size if positive else -size for size, positive in zip(sizes, signs, strict=False)]
    result = wilcoxon_signed_rank(*pairs(differences))
    ranks = paired.signed_ranks(differences)
    sums = sum(rank for rank in ranks if rank > 0), -sum(rank for rank in ranks if rank < 0)
    assert result.statistic == min(sums)
    assert result.p_value == pytest.approx(paired.wilcoxon_p(differences))
    assert result.pairs == len(differences)


@pytest.mark.parametrize("n", [3, 12, 40, 200])
def test_the_signed_rank_test_equals_scipy(n):
    generator = np.random.default_rng(n)
    ours, theirs = generator.normal(size=(2, n)).round(2)
    result = wilcoxon_signed_rank(torch.tensor(ours), torch.tensor(theirs))
    with np.errstate(all="ignore"):
        expected = scipy.stats.wilcoxon((ours - theirs)[ours != theirs])
    assert (result.statistic, result.p_value) == (expected.statistic, expected.pvalue)


@many
@given(FEW)
def test_swapping_the_systems_changes_no_p_value(differences):
    ours, theirs = pairs(differences)
    assert wilcoxon_signed_rank(ours, theirs).p_value == pytest.approx(wilcoxon_signed_rank(theirs, ours).p_value)
    assert win_rate(ours, theirs).p_value == pytest.approx(win_rate(theirs, ours).p_value)


# What pairs are given as

TESTS = [wilcoxon_signed_rank, win_rate, effect_size]


@pytest.mark.parametrize("compare", TESTS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [((30,), (30, 1)), ((5, 30), (30,)), ((5, 30), (5, 30)), ((30,), (1,)), ((30,), ()), ((3,), (4,))],
)
def test_scores_that_are_not_two_equally_long_rows_are_refused(compare, ours, theirs):
    with without_type_checks(), pytest.raises(ValueError, match="one dimension and the same length, got"):
        compare(torch.rand(ours), torch.rand(theirs))
    with without_type_checks(), pytest.raises(ValueError, match="one dimension and the same length, got"):
        compare(torch.rand(ours).numpy(), torch.rand(theirs).numpy())


@many
@given(FEW)
def test_arrays_columns_and_lists_are_pairs_as_well(differences):
    ours, theirs = (side.numpy() for side in pairs(differences))
    table = pd.DataFrame({"ours": ours, "theirs": theirs}, index=range(5, 5 + len(ours)))
    for compare in TESTS:
        expected = repr(compare(torch.tensor(ours), torch.tensor(theirs)))
        assert repr(compare(ours, theirs)) == expected
        assert repr(compare(table["ours"], table["theirs"])) == expected
        assert repr(compare(ours.tolist(), torch.tensor(theirs))) == expected
    correct = [True, False, True], np.array([False, False, True])
    assert win_rate(*correct).wins == 1


# The sign test


@many
@given(FEW)
def test_wins_are_counted_and_tested_by_the_fair_coin(differences):
    result = win_rate(*pairs(differences))
    wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    assert (result.wins, result.losses, result.ties) == (wins, losses, len(differences) - wins - losses)
    assert result.rate == pytest.approx((wins + (len(differences) - wins - losses) / 2) / len(differences))
    assert result.p_value == pytest.approx(paired.sign_test_p(wins, losses))


# Effect sizes


@many
@given(FEW)
def test_effect_sizes_equal_their_definitions(differences):
    result = effect_size(*pairs(differences))
    ranks = paired.signed_ranks(differences)
    assert result.rank_biserial == pytest.approx(sum(ranks) / sum(map(abs, ranks)) if ranks else 0.0)
    if len(differences) > 1 and len(set(differences)) > 1:
        mean = sum(differences) / len(differences)
        deviation = math.sqrt(sum((d - mean) ** 2 for d in differences) / (len(differences) - 1))
        assert result.cohen_dz == pytest.approx(mean / deviation)


@many
@given(FEW)
def test_effects_change_their_sign_with_the_systems_and_keep_their_size_in_other_units(differences):
    ours, theirs = pairs(differences)
    result, swapped, scaled = effect_size(ours, theirs), effect_size(theirs, ours), effect_size(4 * ours, 4 * theirs)
    assert swapped.rank_biserial == pytest.approx(-result.rank_biserial)
    assert swapped.cohen_dz == pytest.approx(-result.cohen_dz, nan_ok=True)
    assert (scaled.rank_biserial, scaled.cohen_dz) == pytest.approx(
        (result.rank_biserial, result.cohen_dz), nan_ok=True
    )


def test_a_difference_that_is_always_the_same_is_infinitely_many_deviations_large():
    assert effect_size(*pairs([2, 2, 2])).cohen_dz == math.inf
    assert effect_size(*pairs([-2, -2])).cohen_dz == -math.inf
    # In tenths nothing is exact, yet all differences are the same.
    tenths = torch.full((7,), 0.1, dtype=torch.float64)
    assert effect_size(tenths, torch.zeros_like(tenths)).cohen_dz == math.inf


# Holm


def test_holm_as_in_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@many
@given(P_VALUES)
def test_holm_equals_its_definition(p_values):
    assert holm(p_values) == pytest.approx(paired.holm(p_values))


@many
@given(P_VALUES)
def test_corrected_p_values_keep_their_order_and_lie_between_the_raw_ones_and_bonferroni(p_values):
    corrected = holm(p_values)
    for raw, p in zip(p_values, corrected, strict=True):
        assert raw <= p <= min(1.0, raw * len(p_values)) + 1e-12
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert sorted(corrected) == pytest.approx([corrected[i] for i in order])


def test_a_missing_p_value_is_no_test():
    assert holm([0.01, math.nan, 0.04]) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)
    assert holm([]) == []


def test_holm_keeps_the_family_wise_error_rate():
    p_values = np.random.default_rng(0).random((4000, 5))  # no effect anywhere
    rejected = np.mean([min(holm(row)) <= 0.05 for row in p_values.tolist()])
    assert rejected == pytest.approx(1 - 0.99**5, abs=0.012)


# Where there is nothing to compare


def test_no_pairs_have_no_result_at_all():
    nothing = torch.zeros(0), torch.zeros(0)
    test, rate, effect = (f(*nothing) for f in (wilcoxon_signed_rank, win_rate, effect_size))
    assert test.pairs == rate.wins == rate.losses == rate.ties == effect.pairs == 0
    assert all(map(math.isnan, (test.p_value, rate.rate, rate.p_value, effect.cohen_dz, effect.rank_biserial)))


def test_one_pair_proves_nothing():
    one = torch.tensor([0.9]), torch.tensor([0.5])
    assert wilcoxon_signed_rank(*one).p_value == 1
    assert win_rate(*one).p_value == 1
    assert win_rate(*one).rate == 1
    assert effect_size(*one).rank_biserial == 1
    assert math.isnan(effect_size(*one).cohen_dz)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_systems_that_never_differ_do_not_differ(n):
    same = (torch.rand(n),)
    test, rate, effect = (f(*same, *same) for f in (wilcoxon_signed_rank, win_rate, effect_size))
    assert (test.statistic, test.p_value, test.pairs) == (0.0, 1.0, n)
    assert (rate.rate, rate.p_value, rate.ties) == (0.5, 1.0, n)
    assert effect.rank_biserial == 0
    assert effect.cohen_dz == 0 if n > 1 else math.isnan(effect.cohen_dz)


@many
@given(FEW)
def test_pairs_without_a_score_are_left_out(differences):
    ours, theirs = pairs(differences)
    gap = torch.tensor([math.nan], dtype=torch.float64)
    longer = torch.cat([ours, gap, gap + 1]), torch.cat([theirs, gap + 1, gap])
    for f in (wilcoxon_signed_rank, win_rate, effect_size):
        assert repr(f(*longer)) == repr(f(ours, theirs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_are_plain_numbers_whatever_the_precision(dtype):
    ours, theirs = torch.rand(2, 20, dtype=dtype, requires_grad=True)
    for f in (wilcoxon_signed_rank, win_rate, effect_size):
        assert {type(value) for value in vars(f(ours, theirs)).values()} <= {int, float}
