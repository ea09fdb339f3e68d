"""Precision@k and mean rank of planted tokens: against plain loops, and their guarantees."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import rationales
from reference.unchecked import without_type_checks

from regex_lib.metrics import planted_precision, planted_rank

many = settings(deadline=None, max_examples=60)
SIZES = st.lists(st.integers(0, 8), min_size=1, max_size=4)
METRICS = pytest.mark.parametrize(
    ("metric", "reference"),
    [(planted_precision, rationales.precision_at_k), (planted_rank, rationales.mean_rank)],
    ids=["precision", "rank"],
)


def case(sizes, seed, dtype=torch.float64):
    """Scores with ties, tokens that count at random places, and planted ones among all of them."""
    generator = torch.Generator().manual_seed(seed)
    width = max(sizes) + 2
    content = torch.rand(len(sizes), width, generator=generator).argsort(dim=1) < torch.tensor(sizes)[:, None]
    scores = torch.randint(-3, 4, content.shape, generator=generator).to(dtype) / 4
    return scores, torch.rand(content.shape, generator=generator) < 0.4, content


@METRICS
@many
@given(sizes=SIZES, seed=st.integers(0, 1000), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_it_equals_a_plain_loop(metric, reference, sizes, seed, dtype):
    scores, planted, content = case(sizes, seed, dtype)
    actual = metric(scores, planted, content)
    assert actual.dtype == dtype
    expected = [reference(*row) for row in zip(scores.tolist(), planted.tolist(), content.tolist(), strict=True)]
    assert actual.tolist() == pytest.approx(expected, nan_ok=True)


@METRICS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_lose_no_rank(metric, reference, dtype):
    """Of 301 planted tokens, 301 are found; the only planted one of another text is the 301st."""
    scores = torch.zeros(2, 403, dtype=dtype)
    scores[0, :301], scores[1, :300] = 1, 1
    planted = torch.arange(403) < torch.tensor([[301], [301]])
    planted[1, :300] = False
    content = torch.ones_like(planted)
    actual = metric(scores, planted, content)
    assert actual.dtype == torch.float32
    assert torch.equal(actual, metric(scores.float(), planted, content))


@METRICS
def test_masks_of_zeros_and_ones_will_do(metric, reference):
    scores, planted, content = case([3, 8, 0], 0)
    with without_type_checks():
        found = metric(scores, planted.long(), content.long())
    torch.testing.assert_close(found, metric(scores, planted, content), equal_nan=True, rtol=0, atol=0)


@METRICS
def test_nothing_planted_gives_nan_and_no_error(metric, reference):
    empty, full = torch.zeros(3, 2, dtype=torch.bool), torch.ones(3, 2, dtype=torch.bool)
    assert metric(torch.ones(3, 2), empty, full).isnan().all()
    assert metric(torch.ones(3, 2), full, empty).isnan().all()
    assert metric(torch.ones(1, 0), empty[:1, :0], full[:1, :0]).isnan().all()
    assert metric(torch.ones(1, 1), full[:1, :1], full[:1, :1]).item() == 1


@many
@given(sizes=SIZES, seed=st.integers(0, 1000))
def test_the_best_ranking_has_precision_one_and_the_lowest_ranks(sizes, seed):
    _, planted, content = case(sizes, seed)
    true = planted & content
    some = true.any(dim=1)
    best = true.double()
    assert (planted_precision(best, planted, content)[some] == 1).all()
    k, n = true.sum(dim=1), content.sum(dim=1)
    assert torch.equal(planted_rank(best, planted, content)[some], ((k + 1) / 2.0)[some].double())
    assert torch.equal(planted_rank(-best, planted, content)[some], (n - (k - 1) / 2.0)[some].double())


def test_a_random_ranking_has_the_expected_scores():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(20_000, 10, generator=generator)
    planted = torch.zeros(20_000, 10, dtype=torch.bool)
    planted[:, :2] = True
    content = torch.ones_like(planted)
    assert planted_precision(scores, planted, content).mean().item() == pytest.approx(2 / 10, abs=0.01)
    assert planted_rank(scores, planted, content).mean().item() == pytest.approx(11 / 2, abs=0.05)


@METRICS
@many
@given(sizes=SIZES, seed=st.integers(0, 1000))
def test_only_the_order_of_the_tokens_that_count_matters(metric, reference, sizes, seed):
    scores, planted, content = case(sizes, seed)
    expected = metric(scores, planted, content)
    elsewhere = scores.masked_fill(~content, 99.0)
    torch.testing.assert_close(metric(elsewhere, planted, content), expected, equal_nan=True)
    torch.testing.assert_close(metric(3 * scores - 1, planted, content), expected, equal_nan=True)
    wide = [torch.nn.functional.pad(tensor, (1, 2)) for tensor in (scores, planted, content)]
    torch.testing.assert_close(metric(*wide), expected, equal_nan=True)
