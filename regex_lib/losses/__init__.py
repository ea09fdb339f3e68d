"""The losses: pure functions of tensors and callables, in nats, averaged over the batch."""

from regex_lib.losses.adversarial import (
    output_divergence,
    virtual_adversarial_loss,
    virtual_adversarial_perturbation,
)
from regex_lib.losses.attention import attention_attribution_divergence
from regex_lib.losses.gradient import input_gradient, input_gradient_penalty

__all__ = [
    "attention_attribution_divergence",
    "input_gradient",
    "input_gradient_penalty",
    "output_divergence",
    "virtual_adversarial_loss",
    "virtual_adversarial_perturbation",
]
