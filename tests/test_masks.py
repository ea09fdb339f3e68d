"""Budgets, rankings, masks and distributions keep their promises on every row, however odd."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.ranking import exact_budget, left_over, ranking, replaced
from reference.regularisers import magnitude_shares, smoothed, tempered_shares
from reference.unchecked import without_type_checks

from regex_lib.masks import (
    bottom_k_mask,
    content_distribution,
    drop,
    kept_positions,
    random_k_mask,
    ranks,
    replace,
    token_budget,
    top_k_mask,
)

many = settings(deadline=None, max_examples=60)

FEW_VALUES = st.sampled_from([-1.0, 0.0, 0.5, 0.5, 2.0])  # so that ties are common
ANY_VALUE = st.floats(-1e6, 1e6, width=32)
WITH_INFINITIES = ANY_VALUE | st.sampled_from([-math.inf, math.inf])


@st.composite
def scored_batches(draw, values=FEW_VALUES | ANY_VALUE):
    """Scores, content masks and budgets of one to four texts; budgets may exceed the content."""
    batch, tokens = draw(st.integers(1, 4)), draw(st.integers(1, 8))

    def table(cells):
        return draw(st.lists(st.lists(cells, min_size=tokens, max_size=tokens), min_size=batch, max_size=batch))

    k = draw(st.lists(st.integers(0, tokens + 2), min_size=batch, max_size=batch))
    return torch.tensor(table(values)), torch.tensor(table(st.booleans())), torch.tensor(k)


@st.composite
def token_batches(draw):
    """Ids, an attention mask (padding on the right) and tokens to remove."""
    batch, tokens = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    lengths = torch.tensor(draw(st.lists(st.integers(0, tokens), min_size=batch, max_size=batch)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    ids = torch.randint(5, 99, (batch, tokens), generator=generator)
    remove = torch.rand((batch, tokens), generator=generator) < draw(st.floats(0, 1))
    return ids, torch.arange(tokens) < lengths[:, None], remove


# Budgets


@pytest.mark.parametrize("rounding", ["up", "down"])
@pytest.mark.parametrize(
    ("ratio", "count"),
    [("0.7", 10), ("0.29", 100), ("0.58", 100), ("0.1", 30), ("0.02", 50), ("0.57", 100), ("0.2", 5), ("0.07", 300)],
)
def test_a_budget_that_is_a_whole_number_is_not_rounded_away(ratio, count, rounding):
    content = torch.ones(1, count, dtype=torch.bool)
    assert token_budget(content, float(ratio), rounding=rounding).item() == exact_budget(ratio, count, rounding)


@many
@given(st.integers(0, 1000), st.lists(st.integers(0, 512), min_size=1, max_size=4), st.sampled_from(["up", "down"]))
def test_budgets_equal_exact_arithmetic(thousandths, counts, rounding):
    content = torch.arange(512) < torch.tensor(counts)[:, None]
    budget = token_budget(content, thousandths / 1000, rounding=rounding)
    assert budget.tolist() == [exact_budget(f"{thousandths}/1000", count, rounding) for count in counts]


def test_any_positive_ratio_takes_a_token_from_the_shortest_text_and_training_leaves_it_one():
    one = torch.tensor([[True]])
    assert token_budget(one, 0.02).item() == 1
    assert token_budget(one, 0.98, rounding="down").item() == 0


@pytest.mark.parametrize("ratio", [-0.1, 1.01, math.nan])
def test_a_ratio_outside_0_and_1_is_refused(ratio):
    with pytest.raises(ValueError, match=r"ratio must be between 0 and 1, got"):
        token_budget(torch.tensor([[True]]), ratio)


def test_an_unknown_rounding_is_refused():
    with pytest.raises(ValueError, match="rounding must be 'up' or 'down', got 'nearest'"):
        token_budget(torch.tensor([[True]]), 0.5, rounding="nearest")


# Rankings


@many
@given(scored_batches(FEW_VALUES | WITH_INFINITIES))
def test_ranks_follow_a_plain_sort_and_put_everything_else_last(case):
    scores, content, _ = case
    for row, row_scores, row_content in zip(ranks(scores, content).tolist(), scores, content, strict=True):
        assert sorted(row) == list(range(len(row)))
        for rank, position in enumerate(ranking(row_scores.tolist(), row_content.tolist())):
            assert row[position] == rank


@many
@given(scored_batches(FEW_VALUES | WITH_INFINITIES))
def test_top_k_is_the_head_of_a_plain_sort(case):
    scores, content, k = case
    for mask, row_scores, row_content, size in zip(top_k_mask(scores, content, k), scores, content, k, strict=True):
        assert mask.nonzero().flatten().tolist() == sorted(ranking(row_scores.tolist(), row_content.tolist())[:size])


@many
@given(scored_batches(FEW_VALUES | WITH_INFINITIES))
def test_top_k_takes_exactly_k_content_tokens_or_all_there_are(case):
    scores, content, k = case
    mask = top_k_mask(scores, content, k)
    assert not (mask & ~content).any()
    assert torch.equal(mask.sum(-1), torch.minimum(k, content.sum(-1)))


@many
@given(scored_batches(FEW_VALUES | WITH_INFINITIES))
def test_no_dropped_token_scores_above_a_kept_one(case):
    scores, content, k = case
    mask = top_k_mask(scores, content, k)
    lowest_kept = scores.masked_fill(~mask, math.inf).amin(-1)
    highest_dropped = scores.masked_fill(mask | ~content, -math.inf).amax(-1)
    assert (lowest_kept >= highest_dropped).all()


def test_of_equal_scores_the_earlier_tokens_are_top_and_the_later_are_bottom():
    scores, content = torch.ones(1, 5), torch.tensor([[False, True, True, True, True]])
    two = torch.tensor([2])
    assert top_k_mask(scores, content, two).tolist() == [[False, True, True, False, False]]
    assert bottom_k_mask(scores, content, two).tolist() == [[False, False, False, True, True]]


@many
@given(scored_batches(FEW_VALUES | WITH_INFINITIES))
def test_the_top_and_the_rest_from_the_bottom_share_out_the_content(case):
    scores, content, k = case
    k = torch.minimum(k, content.sum(-1))
    top, bottom = top_k_mask(scores, content, k), bottom_k_mask(scores, content, content.sum(-1) - k)
    assert torch.equal(top ^ bottom, content)
    assert not (top & bottom).any()


@many
@given(scored_batches())
def test_bottom_k_takes_everything_when_asked_for_more_than_there_is(case):
    scores, content, _ = case
    too_many = content.sum(-1) + 1
    assert torch.equal(bottom_k_mask(scores, content, too_many), content)
    assert torch.equal(top_k_mask(scores, content, too_many), content)


@many
@given(scored_batches(), st.integers(1, 4), ANY_VALUE)
def test_padding_changes_no_ranking(case, extra, padding_score):
    scores, content, k = case
    padded_scores = torch.nn.functional.pad(scores, (0, extra), value=padding_score)
    padded_content = torch.nn.functional.pad(content, (0, extra), value=False)
    for select in (top_k_mask, bottom_k_mask):
        padded = select(padded_scores, padded_content, k)
        assert torch.equal(padded[:, :-extra], select(scores, content, k))
        assert not padded[:, -extra:].any()


@many
@given(scored_batches(), st.randoms())
def test_each_text_is_ranked_on_its_own(case, random):
    scores, content, k = case
    order = list(range(len(k)))
    random.shuffle(order)
    assert torch.equal(top_k_mask(scores, content, k)[order], top_k_mask(scores[order], content[order], k[order]))


@many
@given(scored_batches(st.integers(-50, 50).map(float)), st.integers(-20, 20), st.integers(1, 5))
def test_a_monotone_change_of_the_scores_changes_no_ranking(case, shift, factor):
    scores, content, k = case
    for changed in (scores + shift, factor * scores, scores**3):
        assert torch.equal(top_k_mask(changed, content, k), top_k_mask(scores, content, k))


def test_a_content_token_that_scores_minus_infinity_still_ranks_before_special_tokens():
    scores = torch.tensor([[0.0, -math.inf, 1.0, 0.0]])
    content = torch.tensor([[False, True, True, False]])
    assert top_k_mask(scores, content, torch.tensor([2])).tolist() == [[False, True, True, False]]
    assert bottom_k_mask(scores, content, torch.tensor([1])).tolist() == [[False, True, False, False]]


def test_what_special_tokens_score_does_not_matter():
    content = torch.tensor([[False, True, True]])
    for outside in (math.nan, math.inf, -math.inf, 1e30):
        assert top_k_mask(torch.tensor([[outside, 1.0, 2.0]]), content, torch.tensor([1])).tolist() == [
            [False, False, True]
        ]


# The random control


@many
@given(scored_batches(), st.integers(0, 2**31))
def test_a_random_mask_takes_k_content_tokens_and_its_generator_decides_which(case, seed):
    _, content, k = case
    first, second = (random_k_mask(content, k, generator=torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(first, second)
    assert not (first & ~content).any()
    assert torch.equal(first.sum(-1), torch.minimum(k, content.sum(-1)))


def test_a_random_mask_leaves_the_global_random_state_alone_when_it_has_a_generator():
    before = torch.get_rng_state()
    random_k_mask(torch.ones(2, 5, dtype=torch.bool), torch.tensor([2, 2]), generator=torch.Generator())
    assert torch.equal(before, torch.get_rng_state())


def test_every_content_token_is_drawn_equally_often():
    draws, k, n = 20_000, 2, 6
    content = torch.tensor([False, True, True, True, False, True, True, True]).expand(draws, -1)
    mask = random_k_mask(content, torch.full((draws,), k), generator=torch.Generator().manual_seed(0))
    share = mask.double().mean(0)[content[0]]
    standard_error = math.sqrt(k / n * (1 - k / n) / draws)
    assert ((share - k / n).abs() < 5 * standard_error).all()


def test_every_pair_of_content_tokens_is_drawn_equally_often():
    draws, n = 20_000, 5
    content = torch.ones(draws, n, dtype=torch.bool)
    mask = random_k_mask(content, torch.full((draws,), 2), generator=torch.Generator().manual_seed(1)).double()
    observed = (mask.T @ mask).triu(diagonal=1)
    pairs = observed[observed > 0]
    chi_squared = ((pairs - draws / 10) ** 2 / (draws / 10)).sum().item()
    assert len(pairs) == 10
    assert chi_squared < 27.9  # the 99.9 % quantile of 9 degrees of freedom


# Replacing and dropping


@many
@given(token_batches(), st.integers(0, 4))
def test_replacing_equals_a_loop_over_tokens(case, token_id):
    ids, _, remove = case
    rows = zip(ids.tolist(), remove.tolist(), strict=True)
    assert replace(ids, remove, token_id).tolist() == [replaced(*row, token_id) for row in rows]


@many
@given(token_batches(), st.integers(0, 4))
def test_dropping_equals_a_loop_over_tokens(case, pad_id):
    ids, attended, remove = case
    left = [left_over(*row) for row in zip(ids.tolist(), attended.tolist(), remove.tolist(), strict=True)]
    longest = max(map(len, left))
    shorter, still_attended = drop(ids, attended, remove, pad_id)
    assert shorter.tolist() == [row + [pad_id] * (longest - len(row)) for row in left]
    assert still_attended.tolist() == [[i < len(row) for i in range(longest)] for row in left]


def test_dropping_and_replacing_leave_their_inputs_unchanged():
    ids, attended = torch.tensor([[7, 8, 9]]), torch.ones(1, 3, dtype=torch.bool)
    remove = torch.tensor([[True, False, True]])
    replace(ids, remove, 0)
    drop(ids, attended, remove, 0)
    assert ids.tolist() == [[7, 8, 9]]
    assert attended.all()
    assert remove.tolist() == [[True, False, True]]


def test_dropping_everything_leaves_no_column():
    ids, attended = torch.tensor([[7, 8]]), torch.tensor([[True, False]])
    shorter, still_attended = drop(ids, attended, torch.tensor([[True, True]]), 0)
    assert shorter.shape == still_attended.shape == (1, 0)


# Distributions


@many
@given(
    scored_batches(),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(["sum", "softmax"]),
    st.floats(0.1, 10),
    st.floats(0, 1),
)
def test_distributions_equal_the_formula_one_text_at_a_time(case, dtype, normalise, temperature, smoothing):
    scores, content, _ = case
    scores = scores.masked_fill(scores.abs() < 1e-30, 0.0)  # so small, they count as zeros: see below
    actual = content_distribution(
        scores.to(dtype), content, normalise=normalise, temperature=temperature, smoothing=smoothing
    )
    assert actual.dtype == dtype
    for row, row_scores, counts in zip(actual, scores.double().numpy(), content.numpy(), strict=True):
        assert not row[~counts].any()
        if counts.any():
            shares = magnitude_shares(row_scores[counts])
            if normalise == "softmax":
                shares = tempered_shares(row_scores[counts], temperature)
            expected = torch.from_numpy(smoothed(shares, smoothing))
            torch.testing.assert_close(row[counts].double(), expected, rtol=0, atol=1e-6)


@many
@given(
    scored_batches(),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(["sum", "softmax"]),
    st.floats(0, 1),
)
def test_rows_sum_to_one_or_without_content_to_zero(case, dtype, normalise, smoothing):
    scores, content, _ = case
    totals = content_distribution(scores.to(dtype), content, normalise=normalise, smoothing=smoothing).sum(-1)
    torch.testing.assert_close(totals, content.any(-1).to(dtype), rtol=0, atol=20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("normalise", ["sum", "softmax"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_a_row_of_zeros_becomes_uniform(normalise, smoothing):
    content = torch.tensor([[False, True, True, True, True]])
    zeros = torch.zeros(1, 5, dtype=torch.float64)
    row = content_distribution(zeros, content, normalise=normalise, smoothing=smoothing)
    torch.testing.assert_close(row, torch.tensor([[0.0, 0.25, 0.25, 0.25, 0.25]], dtype=torch.float64))


def test_full_smoothing_is_uniform_to_the_last_digit_of_the_scores_own_type():
    content = torch.ones(1, 3, dtype=torch.bool)
    row = content_distribution(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64), content, smoothing=1.0)
    assert row.tolist() == [[1 / 3, 1 / 3, 1 / 3]]


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e12, 1e30, 1e38])
def test_the_size_of_the_scores_does_not_change_their_shares(size):
    scores, content = torch.tensor([[1.0, -2.0, 0.0, 1.0]]), torch.ones(1, 4, dtype=torch.bool)
    expected = torch.tensor([[0.25, 0.5, 0.0, 0.25]])
    torch.testing.assert_close(content_distribution(scores * size, content), expected)


def test_scores_near_the_smallest_float_count_as_zeros():
    scores, content = torch.tensor([[1e-37, -2e-37]]), torch.ones(1, 2, dtype=torch.bool)
    assert content_distribution(scores, content).tolist() == [[0.5, 0.5]]


@many
@given(scored_batches(FEW_VALUES), st.integers(-60, 60))
def test_a_power_of_two_changes_no_bit_of_the_shares(case, exponent):
    scores, content, _ = case
    assert torch.equal(content_distribution(scores * 2.0**exponent, content), content_distribution(scores, content))


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 1e3])
def test_a_softmax_of_huge_scores_does_not_overflow(temperature):
    scores = torch.tensor([[3e38, 3e38, -1e30, 0.0]], requires_grad=True)
    row = content_distribution(scores, torch.ones(1, 4, dtype=torch.bool), normalise="softmax", temperature=temperature)
    torch.testing.assert_close(row, torch.tensor([[0.5, 0.5, 0.0, 0.0]]))
    row[0, 0].backward()
    assert scores.grad.isfinite().all()


def test_a_low_temperature_picks_the_largest_and_a_high_one_none():
    scores, content = torch.tensor([[1.0, -3.0, 2.0]]), torch.ones(1, 3, dtype=torch.bool)
    cold = content_distribution(scores, content, normalise="softmax", temperature=0.01)
    hot = content_distribution(scores, content, normalise="softmax", temperature=1e6)
    torch.testing.assert_close(cold, torch.tensor([[0.0, 1.0, 0.0]]))
    torch.testing.assert_close(hot, torch.full((1, 3), 1 / 3))


@many
@given(scored_batches(), st.floats(0.01, 1), st.sampled_from(["sum", "softmax"]))
def test_smoothing_leaves_no_content_token_below_its_share(case, smoothing, normalise):
    scores, content, _ = case
    row = content_distribution(scores, content, normalise=normalise, smoothing=smoothing)
    floor = smoothing / content.sum(-1, keepdim=True).clamp(min=1).expand_as(row)
    assert (row >= floor * (1 - 1e-5))[content].all()


@pytest.mark.parametrize("outside", [math.nan, math.inf, 1e38])
def test_what_lies_outside_the_content_reaches_neither_values_nor_gradients(outside):
    scores = torch.tensor([[1.0, 3.0, outside]], requires_grad=True)
    for normalise in ("sum", "softmax"):
        row = content_distribution(scores, torch.tensor([[True, True, False]]), normalise=normalise)
        (gradient,) = torch.autograd.grad(row[0, 0], scores)
        assert row.isfinite().all()
        assert gradient.isfinite().all()
        assert gradient[0, 2] == 0


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-41, 1e-38, 1e-34, 1e-30])
def test_gradients_stay_finite_down_to_the_smallest_float(size):
    scores = (torch.tensor([[1.0, 2.0, 0.0]]) * size).requires_grad_()
    content_distribution(scores, torch.ones(1, 3, dtype=torch.bool))[0, 0].backward()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize(
    "options", [{}, {"smoothing": 0.2}, {"normalise": "softmax", "temperature": 0.7}, {"normalise": "softmax"}]
)
def test_derivatives_of_a_distribution_agree_with_finite_differences(options):
    content = torch.tensor([[True, True, False, True], [False, True, False, True], [False] * 4])
    scores = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)

    def distribution(values):
        return content_distribution(values, content, **options)

    assert torch.autograd.gradcheck(distribution, scores)
    assert torch.autograd.gradgradcheck(distribution, scores)


@many
@given(scored_batches(), st.sampled_from(["sum", "softmax"]), st.floats(0, 0.9), st.data())
def test_a_score_that_is_no_number_makes_its_text_no_distribution(case, normalise, smoothing, data):
    scores, content, _ = case
    expected = content_distribution(scores, content, normalise=normalise, smoothing=smoothing)
    row = data.draw(st.integers(0, len(scores) - 1))
    broken = scores.clone()
    broken[row, data.draw(st.integers(0, scores.shape[1] - 1))] = math.nan
    found = content_distribution(broken, content, normalise=normalise, smoothing=smoothing)
    if broken[row][content[row]].isnan().any():
        assert found[row][content[row]].isnan().all()
        assert not found[row][~content[row]].any()
        found[row] = expected[row]
    assert torch.equal(found, expected)


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(ValueError, match="normalise must be 'sum' or 'softmax', got 'max'"):
        content_distribution(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), normalise="max")


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be positive, got"):
        content_distribution(
            torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), normalise="softmax", temperature=temperature
        )


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, 3.0, math.nan])
def test_a_smoothing_outside_0_and_1_is_refused(smoothing):
    with pytest.raises(ValueError, match=r"smoothing must be between 0 and 1, got"):
        content_distribution(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), smoothing=smoothing)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("normalise", ["sum", "softmax"])
def test_small_scores_in_half_precision_keep_their_shares_and_a_gradient(normalise, dtype):
    scores, content = torch.tensor([[1e-4, -3e-5, 0.0, 9.0]], dtype=dtype), torch.tensor([[True, True, True, False]])
    row = content_distribution(scores.requires_grad_(), content, normalise=normalise, temperature=1e-4)
    expected = {"sum": magnitude_shares, "softmax": lambda row: tempered_shares(row, 1e-4)}[normalise]
    shares = torch.from_numpy(expected(scores[0, :3].detach().double().numpy())).float()
    assert row.dtype == torch.float32
    torch.testing.assert_close(row[0, :3], shares)
    row[0, 0].backward()
    assert scores.grad.isfinite().all()
    assert scores.grad[0, :2].all()


# Masks of zeros and ones


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_masks_of_zeros_and_ones_are_the_same_masks(dtype):
    generator = torch.Generator().manual_seed(0)
    scores, k = torch.randn(3, 5, generator=generator), torch.tensor([2, 2, 1])
    ids = torch.randint(5, 99, (3, 5), generator=generator)
    mask, remove = (torch.rand(3, 5, generator=generator) < 0.7 for _ in range(2))
    calls = [
        lambda as_is: token_budget(as_is(mask), 0.5),
        lambda as_is: ranks(scores, as_is(mask)),
        lambda as_is: top_k_mask(scores, as_is(mask), k),
        lambda as_is: bottom_k_mask(scores, as_is(mask), k),
        lambda as_is: random_k_mask(as_is(mask), k, generator=torch.Generator().manual_seed(0)),
        lambda as_is: replace(ids, as_is(remove), 0),
        lambda as_is: torch.stack(kept_positions(as_is(mask), as_is(remove))),
        lambda as_is: torch.stack(drop(ids, as_is(mask), as_is(remove), 0)),
        lambda as_is: content_distribution(scores, as_is(mask), smoothing=0.1),
        lambda as_is: content_distribution(scores, as_is(mask), normalise="softmax"),
    ]
    for call in calls:
        with without_type_checks():
            found = call(lambda tensor: tensor.to(dtype))
        expected = call(lambda tensor: tensor)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
