"""Input gradient regularisation: its values, its derivatives, and texts at the edge."""

import numpy as np
import pytest
import scipy.special
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import regularisers
from reference.tiny_network import in_numpy, predict, random_batch, random_weights
from reference.unchecked import without_type_checks

from regex_lib.losses import gradient_penalty, input_gradient, input_gradient_penalty, uniform_cross_entropy

NORMS = ["squared_l2", "l21", "l1"]
every_norm = pytest.mark.parametrize("norm", NORMS)


def penalty(embeddings, attention_mask, labels, weights, norm="squared_l2"):
    embeddings = embeddings if embeddings.requires_grad else embeddings.clone().requires_grad_()
    losses = F.cross_entropy(predict(embeddings, attention_mask, weights), labels, reduction="none")
    return input_gradient_penalty(losses, embeddings, attention_mask, norm=norm)


def reference_penalty(embeddings, attention_mask, labels, weights, norm):
    def loss_of(attended, label):
        logits = in_numpy(weights, attended)
        return lambda example: -float(scipy.special.log_softmax(logits(example))[label])

    losses = [loss_of(attended, label) for attended, label in zip(attention_mask, labels.tolist(), strict=True)]
    return regularisers.input_gradient_penalty(losses, embeddings.double().numpy(), attention_mask.numpy(), norm)


@every_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("lengths", "dim", "classes"), [([1], 1, 2), ([3, 5, 1], 2, 2), ([4, 7, 2, 0], 3, 4)])
def test_the_penalty_equals_finite_differences_one_example_at_a_time(lengths, dim, classes, dtype, norm):
    embeddings, attended = random_batch(lengths, dim, dtype)
    weights, labels = random_weights(dim, classes, dtype), torch.arange(len(lengths)) % classes
    actual = penalty(embeddings, attended, labels, weights, norm)
    assert actual.dtype == dtype
    assert actual.item() == pytest.approx(
        reference_penalty(embeddings, attended, labels, weights, norm), abs=1e-6, rel=2e-6
    )


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 1000), st.sampled_from(NORMS))
def test_the_penalty_equals_finite_differences_whatever_the_lengths(lengths, seed, norm):
    embeddings, attended = random_batch(lengths, 2, seed=seed)
    weights, labels = random_weights(2, 3, seed=seed), torch.arange(len(lengths)) % 3
    expected = reference_penalty(embeddings, attended, labels, weights, norm)
    assert penalty(embeddings, attended, labels, weights, norm).item() == pytest.approx(expected, abs=1e-6)


def test_the_norms_of_a_known_gradient():
    embeddings = torch.zeros(2, 2, 2, requires_grad=True)
    attended = torch.tensor([[True, True], [True, False]])
    slopes = torch.tensor([[[3.0, -4.0], [0.0, 2.0]], [[5.0, 12.0], [9.0, 9.0]]])
    losses = (slopes * embeddings).sum((1, 2))
    values = {norm: input_gradient_penalty(losses, embeddings, attended, norm=norm).item() for norm in NORMS}
    assert values == {"squared_l2": (29 + 169) / 2, "l21": (7 + 13) / 2, "l1": (9 + 17) / 2}


@every_norm
def test_its_derivatives_agree_with_finite_differences(norm):
    embeddings, attended = random_batch([2, 1], 2)
    labels = torch.tensor([0, 1])

    def loss(embeddings, *weights):
        return penalty(embeddings, attended, labels, weights, norm)

    inputs = [tensor.requires_grad_() for tensor in (embeddings, *random_weights(2, 2))]
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@every_norm
def test_repeating_the_batch_does_not_change_the_penalty(norm):
    embeddings, attended = random_batch([3, 5], 2)
    labels, weights = torch.tensor([0, 1]), random_weights(2, 2)
    once = penalty(embeddings, attended, labels, weights, norm)
    thrice = penalty(embeddings.repeat(3, 1, 1), attended.repeat(3, 1), labels.repeat(3), weights, norm)
    torch.testing.assert_close(thrice, once)


def test_the_penalty_of_a_batch_is_the_mean_of_its_texts():
    embeddings, attended = random_batch([3, 5, 2], 2)
    labels, weights = torch.tensor([0, 1, 1]), random_weights(2, 2)
    alone = [penalty(embeddings[[i]], attended[[i]], labels[[i]], weights) for i in range(3)]
    torch.testing.assert_close(penalty(embeddings, attended, labels, weights), torch.stack(alone).mean())


@every_norm
def test_padding_does_not_change_the_penalty(norm):
    embeddings, attended = random_batch([3, 5], 2)
    labels, weights = torch.tensor([0, 1]), random_weights(2, 2)
    padded = torch.cat([embeddings, torch.full((2, 4, 2), 7.0, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(
        penalty(padded, F.pad(attended, (0, 4)), labels, weights, norm),
        penalty(embeddings, attended, labels, weights, norm),
    )


def test_a_gradient_on_padding_is_not_counted():
    embeddings = torch.ones(1, 3, 2, requires_grad=True)
    attended = torch.tensor([[True, False, False]])
    gradient = input_gradient(embeddings.square().sum((1, 2)), embeddings, attended)
    assert gradient[0, 0].tolist() == [2.0, 2.0]
    assert not gradient[0, 1:].any()


def test_the_gradient_carries_a_graph_only_when_asked():
    embeddings = torch.ones(1, 2, 2, requires_grad=True)
    attended = torch.ones(1, 2, dtype=torch.bool)

    def gradient(create_graph):
        return input_gradient(embeddings.square().sum((1, 2)), embeddings, attended, create_graph=create_graph)

    assert gradient(create_graph=True).requires_grad
    assert not gradient(create_graph=False).requires_grad
    torch.testing.assert_close(gradient(create_graph=True).detach(), gradient(create_graph=False))


@every_norm
@pytest.mark.parametrize("lengths", [[1], [0], [0, 3], [1, 1]])
@pytest.mark.parametrize("confidence", [1.0, 1e4])
def test_values_and_gradients_are_finite_for_texts_at_the_edge(lengths, confidence, norm):
    embeddings, attended = random_batch(lengths, 2, torch.float32)
    inner, query, outer = random_weights(2, 2, torch.float32)
    weights = [weight.clone().requires_grad_() for weight in (inner, query, confidence * outer)]
    embeddings.requires_grad_()
    for labels in (torch.zeros(len(lengths), dtype=torch.long), torch.ones(len(lengths), dtype=torch.long)):
        value = penalty(embeddings, attended, labels, weights, norm)
        gradients = torch.autograd.grad(value, [embeddings, *weights], materialize_grads=True)
        assert value.isfinite()
        assert all(gradient.isfinite().all() for gradient in gradients)


@every_norm
def test_a_text_of_padding_alone_adds_nothing(norm):
    embeddings, attended = random_batch([0, 0], 2)
    assert penalty(embeddings, attended, torch.tensor([0, 1]), random_weights(2, 2), norm) == 0


@every_norm
def test_a_flat_loss_has_no_penalty_and_a_finite_gradient(norm):
    embeddings = torch.ones(1, 2, 2, requires_grad=True)
    weight = torch.zeros((), requires_grad=True)
    losses = weight * embeddings.square().sum((1, 2))
    value = input_gradient_penalty(losses, embeddings, torch.ones(1, 2, dtype=torch.bool), norm=norm)
    value.backward()
    assert value == 0
    assert weight.grad.isfinite()


def test_gradient_descent_on_the_penalty_lowers_it():
    embeddings, attended = random_batch([3, 5, 4], 2)
    labels, weights = torch.tensor([0, 1, 0]), random_weights(2, 2)
    weights = [weight.clone().requires_grad_() for weight in weights]
    before = penalty(embeddings, attended, labels, weights)
    gradients = torch.autograd.grad(before, weights)
    stepped = [weight - 1e-3 * gradient for weight, gradient in zip(weights, gradients, strict=True)]
    assert penalty(embeddings, attended, labels, stepped) < before


def test_no_grad_field_is_touched():
    embeddings, attended = random_batch([3, 5], 2)
    weights = [weight.clone().requires_grad_() for weight in random_weights(2, 2)]
    embeddings.requires_grad_()
    penalty(embeddings, attended, torch.tensor([0, 1]), weights)
    assert embeddings.grad is None
    assert all(weight.grad is None for weight in weights)


def test_an_unknown_norm_is_refused():
    embeddings, attended = random_batch([2], 2)
    with without_type_checks(), pytest.raises(ValueError, match="norm must be 'squared_l2', 'l21' or 'l1', got 'l2'"):
        penalty(embeddings, attended, torch.tensor([0]), random_weights(2, 2), "l2")


@pytest.mark.parametrize("lengths", [[1], [3, 5]])
@pytest.mark.parametrize("function", [input_gradient, input_gradient_penalty])
def test_a_loss_that_is_an_average_already_is_refused(function, lengths):
    embeddings, attended = random_batch(lengths, 2)
    labels, weights = torch.arange(len(lengths)), random_weights(2, 2)
    loss = F.cross_entropy(predict(embeddings.requires_grad_(), attended, weights), labels)
    with without_type_checks(), pytest.raises(ValueError, match=r"one loss per example .* reduction='none'"):
        function(loss, embeddings, attended)


# From a gradient at hand


@every_norm
def test_a_gradient_at_hand_gives_the_same_penalty_and_the_same_derivatives(norm):
    embeddings, attended = random_batch([3, 5, 0], 2)
    labels, weights = torch.tensor([0, 1, 0]), [w.clone().requires_grad_() for w in random_weights(2, 2)]
    embeddings.requires_grad_()
    losses = F.cross_entropy(predict(embeddings, attended, weights), labels, reduction="none")
    at_hand = gradient_penalty(input_gradient(losses, embeddings, attended), norm=norm)
    at_once = input_gradient_penalty(losses, embeddings, attended, norm=norm)
    torch.testing.assert_close(at_hand, at_once)
    torch.testing.assert_close(
        torch.autograd.grad(at_hand, weights, retain_graph=True), torch.autograd.grad(at_once, weights)
    )


@every_norm
def test_the_penalty_of_a_gradient_has_right_derivatives(norm):
    gradient = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g: gradient_penalty(g, norm=norm), [gradient])
    assert torch.autograd.gradgradcheck(lambda g: gradient_penalty(g, norm=norm), [gradient])


@every_norm
def test_a_gradient_of_zero_has_a_finite_derivative(norm):
    gradient = torch.zeros(1, 2, 2, requires_grad=True)
    gradient_penalty(gradient, norm=norm).backward()
    assert gradient.grad.isfinite().all()


@every_norm
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1e-4, 1.0])
def test_a_gradient_in_half_precision_has_the_penalty_of_its_values(dtype, size, norm):
    gradient = torch.full((1, 128, 768), size, dtype=dtype)
    value = gradient_penalty(gradient, norm=norm)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), gradient_penalty(gradient.double(), norm=norm), rtol=1e-5, atol=0)


# The loss without labels


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 4), st.integers(2, 6), st.floats(0, 30), st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 1000),
)  # fmt: skip
def test_the_cross_entropy_to_the_uniform_distribution_equals_the_formula(batch, classes, scale, dtype, seed):
    logits = scale * torch.randn(batch, classes, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    expected = [regularisers.uniform_cross_entropy(row) for row in logits.double().numpy()]
    actual = uniform_cross_entropy(logits)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-6)
    assert (actual >= np.log(classes) - 1e-6).all()


def test_the_cross_entropy_to_the_uniform_distribution_has_right_derivatives():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(uniform_cross_entropy, [logits])
    assert torch.autograd.gradgradcheck(uniform_cross_entropy, [logits])


def test_a_saturated_prediction_is_far_from_uniform_by_a_finite_amount():
    logits = torch.tensor([[1e4, -1e4]], requires_grad=True)
    value = uniform_cross_entropy(logits)
    value.sum().backward()
    assert value.item() == 1e4
    assert logits.grad.tolist() == [[0.5, -0.5]]


def test_the_penalty_without_labels_knows_no_label():
    embeddings, attended = random_batch([3, 5], 2)
    embeddings.requires_grad_()
    weights = random_weights(2, 2)
    renamed = (*weights[:2], weights[2].flip(-1))
    values = [
        input_gradient_penalty(uniform_cross_entropy(predict(embeddings, attended, w)), embeddings, attended)
        for w in (weights, renamed)
    ]
    torch.testing.assert_close(*values)


def test_the_reference_differentiates_a_known_function():
    at = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(regularisers.central_differences(lambda x: (x**3).sum(), at), 3 * at**2, rtol=1e-8)
