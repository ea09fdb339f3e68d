"""Saliency-guided training: its values and derivatives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import regularisers

from regex_lib.losses import saliency_guided_loss


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 4), st.integers(2, 6), st.floats(0, 20), st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 1000),
)  # fmt: skip
def test_it_is_the_mean_divergence_from_the_clean_to_the_masked_prediction(batch, classes, scale, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    logits, masked = scale * torch.randn(2, batch, classes, generator=generator, dtype=dtype)
    pairs = zip(logits.double().numpy(), masked.double().numpy(), strict=True)
    expected = sum(regularisers.output_divergence(p, q, "kl") for p, q in pairs) / batch
    actual = saliency_guided_loss(logits, masked)
    assert actual.dtype == dtype
    assert actual.item() == pytest.approx(expected, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_predictions_are_compared_in_single_precision(dtype):
    logits = 5 * torch.randn(8, 3)
    logits, masked = logits.to(dtype), (logits + 0.1 * torch.randn(8, 3)).to(dtype)
    actual = saliency_guided_loss(logits, masked)
    assert actual.dtype == torch.float32
    pairs = zip(logits.double().numpy(), masked.double().numpy(), strict=True)
    expected = sum(regularisers.output_divergence(p, q, "kl") for p, q in pairs) / 8
    assert actual.item() == pytest.approx(expected, abs=1e-6)


def test_its_derivatives_agree_with_finite_differences():
    inputs = [tensor.requires_grad_() for tensor in torch.randn(2, 3, 4, dtype=torch.float64).unbind()]
    assert torch.autograd.gradcheck(saliency_guided_loss, inputs)
    assert torch.autograd.gradgradcheck(saliency_guided_loss, inputs)


def test_both_predictions_receive_a_gradient():
    logits, masked = torch.randn(2, 3, 4).unbind()
    saliency_guided_loss(logits.requires_grad_(), masked.requires_grad_()).backward()
    assert logits.grad.any()
    assert masked.grad.any()


def test_saturated_predictions_cost_a_finite_amount():
    logits, masked = torch.tensor([[1e4, -1e4]], requires_grad=True), torch.tensor([[-1e4, 1e4]], requires_grad=True)
    value = saliency_guided_loss(logits, masked)
    value.backward()
    assert value.item() == 2e4
    assert logits.grad.isfinite().all()
    assert masked.grad.isfinite().all()
