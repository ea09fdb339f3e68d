"""Attention against attribution: values, bounds, derivatives, and rows at the edge."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import regularisers
from reference.unchecked import without_type_checks

from regex_lib.losses import attention_attribution_divergence as divergence

DIRECTIONS = ["attention_to_attribution", "attribution_to_attention", "symmetric"]
every_direction = pytest.mark.parametrize("direction", DIRECTIONS)
many = settings(deadline=None, max_examples=30)


@st.composite
def rows(draw, dtype=torch.float64):
    """Attention over all tokens, signed attributions with some exact zeros, and any content mask."""
    batch, tokens = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    attention = (4 * torch.randn(batch, tokens, generator=generator, dtype=dtype)).softmax(-1)
    attribution = torch.randn(batch, tokens, generator=generator, dtype=dtype).relu() * draw(
        st.sampled_from([-1e-12, 1.0, 1e6])
    )
    content = torch.rand(batch, tokens, generator=generator) < draw(st.floats(0, 1))
    return attention, attribution, content


def example(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    attention = torch.randn(3, 5, generator=generator, dtype=torch.float64).softmax(-1)
    attribution = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    content = torch.tensor([[False, True, True, True, False], [False, True, True, False, False], [False] * 5])
    return attention.to(dtype), attribution.to(dtype), content


@every_direction
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("normalise", "temperature"), [("sum", 1.0), ("softmax", 1.0), ("softmax", 0.3)])
@pytest.mark.parametrize("smoothing", [1e-3, 0.1, 1.0])
def test_the_divergence_equals_the_formula_one_text_at_a_time(direction, dtype, normalise, temperature, smoothing):
    attention, attribution, content = example(dtype)
    options = {
        "direction": direction, "normalise": normalise, "temperature": temperature, "smoothing": smoothing,
    }  # fmt: skip
    actual = divergence(attention, attribution, content, **options)
    expected = regularisers.attention_attribution_divergence(
        attention.double().numpy(), attribution.double().numpy(), content.numpy(), **options
    )
    assert actual.dtype == dtype
    assert actual.item() == pytest.approx(expected, abs=1e-6)


@many
@given(rows(), st.sampled_from(DIRECTIONS), st.floats(1e-3, 1))
def test_the_divergence_equals_the_formula_whatever_the_rows(case, direction, smoothing):
    attention, attribution, content = case
    options = {"direction": direction, "normalise": "sum", "temperature": 1.0, "smoothing": smoothing}
    expected = regularisers.attention_attribution_divergence(*(tensor.numpy() for tensor in case), **options)
    assert divergence(attention, attribution, content, **options).item() == pytest.approx(expected, abs=1e-6)


@many
@given(rows(), st.sampled_from(DIRECTIONS), st.floats(1e-6, 1))
def test_it_lies_between_zero_and_log_n_over_s(case, direction, smoothing):
    attention, attribution, content = case
    value = divergence(attention, attribution, content, direction=direction, smoothing=smoothing).item()
    bounds = [math.log(max(1, n) / smoothing) if n else 0.0 for n in content.sum(-1).tolist()]
    assert -1e-12 <= value <= sum(bounds) / len(bounds) + 1e-9


@every_direction
def test_opposite_rows_come_close_to_the_bound(direction):
    smoothing, n = 1e-6, 2
    attention, attribution = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    value = divergence(
        attention, attribution, torch.ones(1, n, dtype=torch.bool), direction=direction, smoothing=smoothing
    )
    assert value.item() == pytest.approx(math.log(n / smoothing), rel=1e-3)


@many
@given(rows(), st.sampled_from(DIRECTIONS), st.floats(1e-3, 10))
def test_attention_in_proportion_to_the_attribution_costs_nothing(case, direction, factor):
    attention, _, content = case
    assert divergence(attention, -factor * attention, content, direction=direction).item() == pytest.approx(
        0, abs=1e-12
    )


@every_direction
def test_any_difference_of_shares_costs_something(direction):
    content = torch.ones(1, 3, dtype=torch.bool)
    for first, second in itertools.permutations([[0.2, 0.3, 0.5], [0.3, 0.2, 0.5], [0.21, 0.29, 0.5]], 2):
        value = divergence(torch.tensor([first]), torch.tensor([second]), content, direction=direction)
        assert value > 1e-5


@many
@given(rows())
def test_the_symmetric_divergence_is_the_mean_of_both_directions(case):
    there, back, both = (divergence(*case, direction=direction) for direction in DIRECTIONS)
    torch.testing.assert_close(both, (there + back) / 2)


@many
@given(rows())
def test_swapping_the_two_rows_swaps_the_direction(case):
    attention, attribution, content = case
    torch.testing.assert_close(
        divergence(attention, attribution, content, direction="attention_to_attribution"),
        divergence(attribution.abs(), attention, content, direction="attribution_to_attention"),
    )


@many
@given(rows(), st.integers(1, 4), st.sampled_from(["sum", "softmax"]))
def test_neither_padding_nor_special_tokens_change_the_divergence(case, extra, normalise):
    attention, attribution, content = case
    garbage = attribution.masked_fill(~content, 1e9)
    padded = (
        F.pad(attention, (0, extra), value=0.7),
        F.pad(garbage, (0, extra), value=-3.0),
        F.pad(content, (0, extra)),
    )
    torch.testing.assert_close(divergence(*padded, normalise=normalise), divergence(*case, normalise=normalise))


def test_it_is_the_mean_over_the_texts_and_a_text_without_content_adds_zero():
    attention, attribution, content = example()
    alone = [divergence(attention[[i]], attribution[[i]], content[[i]]) for i in range(3)]
    assert alone[2] == 0
    torch.testing.assert_close(divergence(attention, attribution, content), sum(alone) / 3)


@every_direction
@pytest.mark.parametrize("normalise", ["sum", "softmax"])
def test_derivatives_by_attention_and_attribution_agree_with_finite_differences(direction, normalise):
    attention, attribution, content = example()

    def loss(attention_scores, attribution):
        return divergence(attention_scores.softmax(-1), attribution, content, direction=direction, normalise=normalise)

    inputs = [attention.log().requires_grad_(), attribution.requires_grad_()]
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@every_direction
@pytest.mark.parametrize("normalise", ["sum", "softmax"])
@pytest.mark.parametrize(
    ("attribution", "content"),
    [
        ([[0.3, 2.0, 0.1]], [[False, True, False]]),
        ([[0.3, 2.0, 0.1]], [[False, False, False]]),
        ([[0.0, 0.0, 0.0]], [[True, True, True]]),
        ([[0.0, 1e-40, 1e30]], [[True, True, True]]),
        ([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], [[True, True, True], [False, False, False]]),
    ],
    ids=["one token", "no content", "all-zero", "tiny and huge", "with a text of padding"],
)
def test_values_and_gradients_are_finite_for_rows_at_the_edge(attribution, content, direction, normalise):
    attribution = torch.tensor(attribution, requires_grad=True)
    scores = torch.randn(attribution.shape, requires_grad=True)
    value = divergence(scores.softmax(-1), attribution, torch.tensor(content), direction=direction, normalise=normalise)
    value.backward()
    assert value.isfinite()
    assert scores.grad.isfinite().all()
    assert attribution.grad.isfinite().all()


@every_direction
@pytest.mark.parametrize("confidence", [20.0, 60.0, 80.0, 90.0, 100.0, 1e4])
def test_attention_that_leaves_almost_nothing_to_the_content_keeps_finite_gradients(direction, confidence):
    scores = torch.tensor([[confidence, 0.0, -1.0]], requires_grad=True)
    content = torch.tensor([[False, True, True]])
    value = divergence(scores.softmax(-1), torch.tensor([[0.0, 1.0, 3.0]]), content, direction=direction)
    value.backward()
    assert value.isfinite()
    assert scores.grad.isfinite().all()


def test_a_detached_attribution_sends_no_gradient_to_its_source():
    attention, attribution, content = example()
    attention.requires_grad_()
    attribution.requires_grad_()
    divergence(attention, attribution.detach(), content).backward()
    assert attention.grad.any()
    assert attribution.grad is None


def test_descending_its_gradient_brings_attention_to_the_attribution():
    scores = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    attribution, content = torch.tensor([[1.0, -2.0, 5.0]]).double(), torch.ones(1, 3, dtype=torch.bool)
    for _ in range(200):
        (gradient,) = torch.autograd.grad(divergence(scores.softmax(-1), attribution, content), scores)
        scores = (scores - 2 * gradient).detach().requires_grad_()
    torch.testing.assert_close(scores.softmax(-1), attribution.abs() / 8, atol=1e-3, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, -0.1, 1.1, math.nan])
def test_a_smoothing_that_bounds_nothing_is_refused(smoothing):
    with pytest.raises(ValueError, match="smoothing must be above 0 and at most 1, got"):
        divergence(*example(), smoothing=smoothing)


def test_an_unknown_direction_is_refused():
    expected = "direction must be 'attention_to_attribution', 'attribution_to_attention' or 'symmetric', got 'both'"
    with without_type_checks(), pytest.raises(ValueError, match=expected):
        divergence(*example(), direction="both")


def test_an_unknown_normalisation_is_refused():
    with without_type_checks(), pytest.raises(ValueError, match="normalise must be 'sum' or 'softmax', got 'max'"):
        divergence(*example(), normalise="max")


def test_a_temperature_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        divergence(*example(), normalise="softmax", temperature=0.0)
