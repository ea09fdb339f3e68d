"""Agreement of attributions: against exact arithmetic and scipy, and its guarantees."""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import randomisation as reference
from reference.ranking import exact_budget

from regex_lib.masks import random_k_mask, token_budget
from regex_lib.metrics import bootstrap_interval, expected_jaccard, rank_correlation, top_k_jaccard

many = settings(deadline=None, max_examples=60)
SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=4)
RATIOS = st.sampled_from(["0.02", "0.1", "0.25", "0.5", "1"])
LEVELS = st.sampled_from([1, 4, 50])
BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def case(sizes, seed, levels=4, dtype=torch.float64):
    """Two rows of scores with ties, content at random places, and other numbers where there is none."""
    generator = torch.Generator().manual_seed(seed)
    width = max(sizes) + 2
    content = torch.rand(len(sizes), width, generator=generator).argsort(dim=1) < torch.tensor(sizes)[:, None]
    first, second = (
        torch.randint(-levels, levels + 1, content.shape, generator=generator).to(dtype) / 8 for _ in range(2)
    )
    return first, second, content


# Jaccard


@many
@given(SIZES, st.integers(0, 1000), LEVELS, RATIOS)
def test_the_overlap_is_that_of_exact_arithmetic(sizes, seed, levels, ratio):
    first, second, content = case(sizes, seed, levels)
    found = top_k_jaccard(first, second, content, float(ratio))
    for value, ours, theirs, counts in zip(found, first, second, content, strict=True):
        if counts.any():
            expected = reference.jaccard(ours.tolist(), theirs.tolist(), counts.tolist(), ratio)
            assert value.item() == pytest.approx(float(expected), abs=1e-12)
        else:
            assert value.isnan()


@many
@given(SIZES, st.integers(0, 1000), LEVELS, RATIOS)
def test_the_overlap_is_symmetric_and_1_for_the_same_attribution(sizes, seed, levels, ratio):
    first, second, content = case(sizes, seed, levels)
    found = top_k_jaccard(first, second, content, float(ratio))
    torch.testing.assert_close(top_k_jaccard(second, first, content, float(ratio)), found, equal_nan=True)
    same = top_k_jaccard(first, 2 * first + 1, content, float(ratio))
    assert (same[content.any(dim=1)] == 1.0).all()


def test_opposite_attributions_do_not_overlap():
    scores = torch.arange(8.0)[None]
    assert top_k_jaccard(scores, -scores, torch.ones(1, 8).bool()).item() == 0.0


@many
@given(SIZES, st.integers(0, 1000))
def test_what_is_not_content_does_not_matter(sizes, seed):
    first, second, content = case(sizes, seed)
    wide = [torch.nn.functional.pad(x, (0, 3), value=value) for x, value in ((first, 9.0), (second, -9.0))]
    mask = torch.nn.functional.pad(content, (0, 3))
    changed = first + 100 * ~content
    for metric in (top_k_jaccard, rank_correlation):
        found = metric(first, second, content)
        torch.testing.assert_close(metric(*wide, mask), found, equal_nan=True)
        torch.testing.assert_close(metric(changed, second, content), found, equal_nan=True)


# Chance


@pytest.mark.parametrize("tokens", range(1, 11))
def test_chance_is_the_mean_over_all_sets(tokens):
    for ratio in ("0.1", "0.25", "0.5", "1"):
        k = exact_budget(ratio, tokens, "up")
        expected = reference.mean_jaccard_of_all_sets(tokens, k)
        assert reference.expected_jaccard(tokens, k) == expected
        found = expected_jaccard(torch.ones(1, tokens).bool(), float(ratio))
        assert found.item() == pytest.approx(float(expected), abs=1e-12)


@many
@given(st.lists(st.integers(1, 512), min_size=1, max_size=4), RATIOS)
def test_chance_is_hypergeometric(sizes, ratio):
    content = torch.arange(max(sizes) + 1) < torch.tensor(sizes)[:, None]
    expected = [float(reference.expected_jaccard(n, exact_budget(ratio, n, "up"))) for n in sizes]
    assert expected_jaccard(content, float(ratio)).tolist() == pytest.approx(expected, rel=1e-9)


def test_without_content_there_is_no_chance():
    assert expected_jaccard(torch.zeros(2, 3).bool()).isnan().all()
    assert expected_jaccard(torch.tensor([[False, False], [True, False]])).tolist() == pytest.approx(
        [math.nan, 1.0], nan_ok=True
    )


@pytest.mark.parametrize("tokens", [7, 20, 100, 400])
def test_two_random_quarters_overlap_as_chance_says(tokens):
    """The floor of Zafar et al., .14, within the confidence interval of what random attributions give."""
    content = torch.ones(500, tokens).bool()
    first, second = torch.rand(2, 500, tokens)
    interval = bootstrap_interval(top_k_jaccard(first, second, content))
    expected = expected_jaccard(content[:1]).item()
    assert interval.low < expected < interval.high
    assert interval.high - interval.low < 0.06
    if tokens >= 100:
        assert expected == pytest.approx(0.14, abs=0.01)
    k = token_budget(content, 0.25)
    sets = [random_k_mask(content, k) for _ in range(2)]
    drawn = top_k_jaccard(*(chosen.double() for chosen in sets), content)
    interval = bootstrap_interval(drawn)
    assert interval.low < expected < interval.high


# Spearman


@many
@given(SIZES, st.integers(0, 1000), LEVELS)
def test_the_correlation_equals_scipy(sizes, seed, levels):
    first, second, content = case(sizes, seed, levels)
    found = rank_correlation(first, second, content)
    for value, ours, theirs, counts in zip(found, first, second, content, strict=True):
        ours, theirs = ours[counts], theirs[counts]
        if len(ours) < 2 or len(ours.unique()) < 2 or len(theirs.unique()) < 2:
            assert value.isnan()
        else:
            assert value.item() == pytest.approx(scipy.stats.spearmanr(ours, theirs).statistic, abs=1e-12)


@many
@given(SIZES, st.integers(0, 1000))
def test_the_correlation_depends_on_the_orders_only(sizes, seed):
    first, second, content = case(sizes, seed)
    found = rank_correlation(first, second, content)
    torch.testing.assert_close(rank_correlation(first.exp(), 3 * second - 2, content), found, equal_nan=True)
    torch.testing.assert_close(rank_correlation(-first, second, content), -found, equal_nan=True)
    torch.testing.assert_close(rank_correlation(second, first, content), found, equal_nan=True)
    same = rank_correlation(first, first, content)
    assert (same[~same.isnan()] == 1.0).all()


@BOTH
def test_what_cannot_be_ordered_has_no_correlation(dtype):
    content = torch.tensor([[True, True], [True, True], [True, False], [False, False]])
    first = torch.tensor([[1.0, 1.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], dtype=dtype)
    found = rank_correlation(first, torch.tensor([[1.0, 2.0]] * 4, dtype=dtype), content)
    assert found.dtype == dtype
    assert found.isnan().tolist() == [True, False, True, True]


@BOTH
def test_long_texts_lose_no_precision(dtype):
    first, second = torch.randn(2, 2, 512, dtype=dtype)
    found = rank_correlation(first, second, torch.ones(2, 512).bool())
    expected = [scipy.stats.spearmanr(*pair).statistic for pair in zip(first, second, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


# Sizes


# Precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_long_texts_in_half_precision_are_counted_exactly(dtype):
    first, second, content = case([120, 3000], seed=1, levels=50, dtype=dtype)
    second = second + first
    correlation, overlap = rank_correlation(first, second, content), top_k_jaccard(first, second, content)
    assert correlation.dtype == overlap.dtype == torch.float32
    for row, counts in enumerate(content):
        ours, theirs = first[row, counts].double(), second[row, counts].double()
        assert correlation[row].item() == pytest.approx(scipy.stats.spearmanr(ours, theirs).statistic, abs=1e-6)
        expected = reference.jaccard(ours.tolist(), theirs.tolist(), [True] * len(ours), "0.25")
        assert overlap[row].item() == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("metric", [top_k_jaccard, rank_correlation])
def test_a_token_without_a_number_leaves_nothing_to_compare(metric):
    content = torch.tensor([[True, True, True, False]]).expand(3, 4)
    first = torch.tensor([[torch.nan] * 4, [0.1, torch.nan, 0.9, 0.0], [0.1, 0.5, 0.9, torch.nan]])
    second = torch.arange(4.0).expand(3, 4)
    assert metric(first, first, content).isnan().tolist() == [True, True, False]
    assert metric(first, second, content).isnan().tolist() == [True, True, False]
    assert metric(second, first, content).isnan().tolist() == [True, True, False]


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.1])
def test_impossible_ratios_are_refused(ratio):
    content = torch.ones(1, 2).bool()
    with pytest.raises(ValueError, match=f"ratio must be above 0 and at most 1, got {ratio}"):
        top_k_jaccard(torch.ones(1, 2), torch.ones(1, 2), content, ratio)
    with pytest.raises(ValueError, match="ratio must be above 0"):
        expected_jaccard(content, ratio)
