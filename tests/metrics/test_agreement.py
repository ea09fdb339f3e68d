"""Leave-one-out agreement and monotonicity: against scipy and a plain loop, and their guarantees."""

import itertools
import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regex_lib.metrics import leave_one_out_tau, monotonicity, removal_curve

many = settings(deadline=None, max_examples=60)
SIZES = st.lists(st.integers(0, 8), min_size=1, max_size=4)


def case(sizes, seed, levels=4, dtype=torch.float64):
    """Scores and drops with ties, features at random places, and other numbers where there is none."""
    generator = torch.Generator().manual_seed(seed)
    width = max(sizes) + 2
    order = torch.rand(len(sizes), width, generator=generator).argsort(dim=1)
    mask = order < torch.tensor(sizes)[:, None]
    scores, drops = (
        torch.randint(-levels, levels + 1, mask.shape, generator=generator).to(dtype) / 8 for _ in range(2)
    )
    return scores, drops, mask


# Kendall's tau


@many
@given(SIZES, st.integers(0, 1000), st.sampled_from([1, 4, 50]))
def test_tau_equals_scipy(sizes, seed, levels):
    scores, drops, mask = case(sizes, seed, levels)
    for tau, ours, theirs, counts in zip(leave_one_out_tau(scores, drops, mask), scores, drops, mask, strict=True):
        if counts.sum() < 2:
            assert tau.isnan()
        else:
            expected = scipy.stats.kendalltau(ours[counts].numpy(), theirs[counts].numpy(), variant="b").statistic
            assert tau.item() == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_tau_as_calculated_by_hand():
    # Of three pairs two are in the same order, one is not.
    tau = leave_one_out_tau(torch.tensor([[0.3, 0.2, 0.1]]), torch.tensor([[0.5, 0.1, 0.2]]), torch.ones(1, 3).bool())
    assert tau.item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_cannot_be_ordered_has_no_tau_and_can_be_counted(dtype):
    mask = torch.tensor([[True, True], [True, True], [True, False], [False, False], [True, True]])
    scores = torch.tensor([[1.0, 1.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], dtype=dtype)
    drops = torch.tensor([[1.0, 2.0], [3.0, 3.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], dtype=dtype)
    tau = leave_one_out_tau(scores, drops, mask)
    assert tau.dtype == dtype
    assert tau.isnan().tolist() == [True, True, True, True, False]


@many
@given(SIZES, st.integers(0, 1000), st.sampled_from([0.5, 2.0, 8.0]), st.integers(-3, 3))
def test_tau_depends_on_the_orders_only(sizes, seed, scale, shift):
    scores, drops, mask = case(sizes, seed)
    tau = leave_one_out_tau(scores, drops, mask)
    torch.testing.assert_close(leave_one_out_tau(scale * scores + shift, drops, mask), tau, equal_nan=True)
    torch.testing.assert_close(leave_one_out_tau(scores, drops.exp(), mask), tau, equal_nan=True)
    torch.testing.assert_close(leave_one_out_tau(-scores, drops, mask), -tau, equal_nan=True)
    torch.testing.assert_close(leave_one_out_tau(drops, scores, mask), tau, equal_nan=True)


@many
@given(SIZES, st.integers(0, 1000))
def test_neither_padding_nor_other_examples_change_tau(sizes, seed):
    scores, drops, mask = case(sizes, seed)
    tau = leave_one_out_tau(scores, drops, mask)
    wide = [torch.nn.functional.pad(tensor, (1, 3)) for tensor in (scores, drops, mask)]
    torch.testing.assert_close(leave_one_out_tau(*wide), tau, equal_nan=True)
    back = leave_one_out_tau(scores.flip(0), drops.flip(0), mask.flip(0))
    torch.testing.assert_close(back.flip(0), tau, equal_nan=True)
    garbage = scores.masked_fill(~mask, torch.nan)
    torch.testing.assert_close(leave_one_out_tau(garbage, drops, mask), tau, equal_nan=True)


def test_infinite_scores_are_ordered_too():
    scores = torch.tensor([[torch.inf, 0.0, -torch.inf]])
    assert leave_one_out_tau(scores, torch.tensor([[3.0, 2.0, 1.0]]), torch.ones(1, 3).bool()).item() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_many_features_in_half_precision_are_counted_exactly(dtype):
    scores, drops, mask = case([40, 300], seed=1, levels=50, dtype=dtype)
    tau = leave_one_out_tau(scores, drops, mask)
    assert tau.dtype == torch.float32
    for value, ours, theirs, counts in zip(tau, scores.double(), drops.double(), mask, strict=True):
        expected = scipy.stats.kendalltau(ours[counts].numpy(), theirs[counts].numpy(), variant="b").statistic
        assert value.item() == pytest.approx(expected, abs=1e-6)


def test_a_feature_without_a_number_leaves_nothing_to_order():
    rows, mask = torch.tensor([[0.1, torch.nan, 0.9], [0.1, 0.5, 0.9]]), torch.ones(2, 3).bool()
    drops = torch.tensor([[1.0, 2.0, 3.0]]).expand(2, 3)
    assert leave_one_out_tau(rows, drops, mask).isnan().tolist() == [True, False]
    assert leave_one_out_tau(drops, rows, mask).isnan().tolist() == [True, False]


# Monotonicity


def plain_monotonicity(probability, scores):
    """Add features in order of increasing importance to an empty text, as the definition says."""
    order = sorted(range(len(scores)), key=lambda i: (scores[i], -i))
    present = [probability(frozenset(order[:k])) for k in range(len(order) + 1)]
    kept = [after >= before for before, after in itertools.pairwise(present)]
    return sum(kept) / len(kept) if kept else math.nan


@many
@given(SIZES, st.integers(0, 1000))
def test_monotonicity_equals_adding_one_feature_after_the_other(sizes, seed):
    scores, _, mask = case(sizes, seed)

    def probability_of(example, present):
        # Repeated values, so that some steps change nothing.
        return (hash((example, tuple(sorted(present)))) % 5) / 5

    def probability_without(example_index, removed):
        rows = zip(example_index.tolist(), removed, strict=True)
        return torch.tensor(
            [probability_of(e, (mask[e] & ~row).nonzero()[:, 0].tolist()) for e, row in rows], dtype=torch.float64
        )

    actual = monotonicity(removal_curve(probability_without, scores, mask))
    for example, row in enumerate(mask):
        places = row.nonzero()[:, 0].tolist()
        expected = plain_monotonicity(
            lambda present, example=example, places=places: probability_of(example, [places[i] for i in present]),
            scores[example, places].tolist(),
        )
        assert actual[example].item() == pytest.approx(expected, nan_ok=True)


def test_each_step_counts_once_whatever_its_size():
    assert monotonicity(torch.tensor([[0.9, 0.7, 0.8, 0.5]])).item() == pytest.approx(2 / 3)
    assert monotonicity(torch.tensor([[0.9, 0.9, 0.2]])).item() == 1
    assert monotonicity(torch.tensor([[0.1, 0.5, 0.9]])).item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_long_curve_in_half_precision_is_counted_exactly(dtype):
    curve = torch.zeros(1, 3004, dtype=dtype)
    curve[0, -1] = 1.0
    assert monotonicity(curve).item() == pytest.approx(3002 / 3003, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shorter_curves_end_in_nan_and_an_empty_one_has_no_score(dtype):
    curve = torch.tensor([[0.9, 0.5, 0.6], [0.9, 0.5, torch.nan], [0.9, torch.nan, torch.nan]], dtype=dtype)
    score = monotonicity(curve)
    assert score.dtype == dtype
    assert score[:2].tolist() == [0.5, 1.0]
    assert score[2].isnan()


def test_the_true_weights_of_a_model_that_adds_up_are_monotonous_if_none_is_negative():
    weights = torch.tensor([[0.1, 0.3, 0.0, 0.2]])

    def probability_without(example, removed):
        return 0.8 - (removed * weights).sum(dim=-1)

    mask = torch.ones(1, 4, dtype=torch.bool)
    assert monotonicity(removal_curve(probability_without, weights, mask)).item() == 1
    assert monotonicity(removal_curve(probability_without, -weights, mask)).item() == 1  # it says nothing of the order
