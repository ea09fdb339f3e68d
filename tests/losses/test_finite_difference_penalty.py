"""Input gradient regularisation by finite differences: what it approaches, how fast, and texts at the edge."""

import itertools

import pytest
import scipy.special
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import regularisers
from reference.loss_cases import cross_entropy_at, labels_for, leaves, recorded
from reference.tiny_network import in_numpy, random_batch, random_weights
from reference.unchecked import without_type_checks

from regex_lib.losses import finite_difference_penalty, input_gradient, input_gradient_penalty

NORMS = ["squared_l2", "l21", "l1"]
every_norm = pytest.mark.parametrize("norm", NORMS)
LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=4)


def penalty(embeddings, attended, labels, weights, loss_at=None, **options):
    embeddings = embeddings if embeddings.requires_grad else embeddings.clone().requires_grad_()
    loss_at = loss_at or cross_entropy_at(attended, labels, weights)
    losses = loss_at(embeddings)
    (gradient,) = torch.autograd.grad(losses.sum(), embeddings, retain_graph=True)
    return finite_difference_penalty(loss_at, embeddings, attended, gradient, losses, **options)


def reference_penalty(embeddings, attended, labels, weights, **options):
    def loss_of(mask, label):
        logits = in_numpy(weights, mask)
        return lambda example: -float(scipy.special.log_softmax(logits(example))[label])

    losses = [loss_of(mask, label) for mask, label in zip(attended, labels.tolist(), strict=True)]
    return regularisers.finite_difference_penalty(losses, embeddings.double().numpy(), attended.numpy(), **options)


@every_norm
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("step", [0.03, 0.3])
@pytest.mark.parametrize(("lengths", "dim", "classes"), [([1], 1, 2), ([3, 5, 1], 2, 2), ([4, 7, 2, 0], 3, 4)])
def test_the_penalty_equals_the_growth_of_each_loss_along_its_steepest_direction(
    lengths, dim, classes, step, relative, norm
):
    embeddings, attended = random_batch(lengths, dim)
    inputs = (embeddings, attended, labels_for(lengths, classes), random_weights(dim, classes))
    options = {"norm": norm, "step": step, "relative": relative}
    assert penalty(*inputs, **options).item() == pytest.approx(reference_penalty(*inputs, **options), rel=1e-6)


@settings(deadline=None, max_examples=25)
@given(LENGTHS, st.integers(0, 1000), st.sampled_from(NORMS), st.floats(0.01, 1), st.booleans())
def test_the_penalty_equals_the_reference_whatever_the_lengths(lengths, seed, norm, step, relative):
    embeddings, attended = random_batch(lengths, 2, seed=seed)
    inputs = (embeddings, attended, labels_for(lengths, 3), random_weights(2, 3, seed=seed))
    options = {"norm": norm, "step": step, "relative": relative}
    assert penalty(*inputs, **options).item() == pytest.approx(reference_penalty(*inputs, **options), abs=1e-6)


@every_norm
@pytest.mark.parametrize("relative", [True, False])
def test_value_and_gradient_approach_the_exact_ones_in_proportion_to_the_step(norm, relative):
    embeddings, attended = random_batch([3, 5, 1, 0], 2)
    labels, inputs = labels_for(attended, 3), leaves(embeddings, random_weights(2, 3))
    at = (inputs[0], attended, labels, inputs[1:])
    losses = cross_entropy_at(attended, labels, inputs[1:])(inputs[0])
    exact = input_gradient_penalty(losses, inputs[0], attended, norm=norm)
    slopes = torch.autograd.grad(exact, inputs)
    errors = []
    for step in (1e-2, 1e-3, 1e-4):
        value = penalty(*at, norm=norm, step=step, relative=relative)
        apart = [(a - b).norm() for a, b in zip(torch.autograd.grad(value, inputs), slopes, strict=True)]
        errors.append(torch.stack([(value - exact).abs(), *apart]).detach())
    for larger, smaller in itertools.pairwise(errors):
        torch.testing.assert_close(larger / smaller, torch.full_like(larger, 10.0), rtol=0.2, atol=0)
    assert (errors[-1] < 1e-3).all()


@pytest.mark.parametrize("norm", ["l21", "l1"])
def test_a_linear_loss_has_the_exact_penalty_at_any_step(norm):
    embeddings, attended = random_batch([3, 2], 2)
    slopes = torch.randn(2, 3, 2, dtype=torch.float64) * attended[..., None]
    sizes = {"l21": slopes.norm(dim=-1).sum(1), "l1": slopes.abs().sum((1, 2))}[norm]
    value = finite_difference_penalty(
        lambda x: (slopes * x).sum((1, 2)), embeddings, attended, slopes, (slopes * embeddings).sum((1, 2)),
        norm=norm, step=7.0,
    )  # fmt: skip
    torch.testing.assert_close(value, sizes.mean())


@every_norm
def test_its_derivatives_agree_with_finite_differences(norm):
    embeddings, attended = random_batch([2, 1], 2)
    labels, gradient = torch.tensor([0, 1]), torch.randn(2, 2, 2, dtype=torch.float64)

    def loss(embeddings, *weights):
        loss_at = cross_entropy_at(attended, labels, weights)
        options = {"norm": norm, "step": 0.1, "relative": False}
        return finite_difference_penalty(loss_at, embeddings, attended, gradient, loss_at(embeddings), **options)

    inputs = leaves(embeddings, random_weights(2, 2))
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@every_norm
def test_neither_the_gradient_nor_the_embeddings_norm_is_trained_through(norm):
    embeddings, attended = random_batch([2, 3], 2)
    labels, inputs = torch.tensor([0, 1]), leaves(embeddings, random_weights(2, 2))
    loss_at, seen = recorded(cross_entropy_at(attended, labels, inputs[1:]))
    losses = loss_at(inputs[0])
    gradient = input_gradient(losses, inputs[0], attended)  # with its graph
    value = finite_difference_penalty(loss_at, inputs[0], attended, gradient, losses, norm=norm)
    moved = (seen[1] - seen[0]).flatten(1).norm(dim=-1)
    direction = {
        "squared_l2": gradient / gradient.flatten(1).norm(dim=-1)[:, None, None],
        "l21": F.normalize(gradient, dim=-1),
        "l1": gradient.sign(),
    }[norm].detach()
    h = moved / direction.flatten(1).norm(dim=-1)
    slopes = (cross_entropy_at(attended, labels, inputs[1:])(inputs[0] + (seen[1] - seen[0])) - losses) / h
    held = (slopes**2 if norm == "squared_l2" else slopes).mean()
    torch.testing.assert_close(
        torch.autograd.grad(value, inputs, retain_graph=True), torch.autograd.grad(held, inputs), rtol=1e-8, atol=1e-8
    )


def test_no_double_backward_is_asked_for():
    class OnceDifferentiable(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slopes):
            return 3 * ctx.saved_tensors[0] ** 2 * slopes

    embeddings, attended = random_batch([3, 2], 2)
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)

    def loss_at(x):
        return OnceDifferentiable.apply(weight * x * attended[..., None]).square().sum((1, 2))

    embeddings.requires_grad_()
    with pytest.raises(RuntimeError, match="once_differentiable"):
        input_gradient_penalty(loss_at(embeddings), embeddings, attended).backward()
    value = penalty(embeddings, attended, None, None, loss_at, step=1e-6)
    (slope,) = torch.autograd.grad(value, weight)
    # The gradient is 6 w^6 x^5, so its squared norm has the derivative 432 w^11 x^10 at w = 1.
    exact = (432 * embeddings**10 * attended[..., None]).sum((1, 2)).mean()
    torch.testing.assert_close(slope, exact, rtol=1e-4, atol=0)


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.floats(1e-3, 10), st.sampled_from(NORMS), st.booleans(), st.sampled_from(["f4", "f8"]))
def test_the_displacement_has_the_size_asked_for_and_leaves_padding_alone(lengths, step, norm, relative, kind):
    dtype = {"f4": torch.float32, "f8": torch.float64}[kind]
    embeddings, attended = random_batch(lengths, 2, dtype)
    loss_at, seen = recorded(cross_entropy_at(attended, labels_for(lengths, 2), random_weights(2, 2, dtype)))
    value = penalty(embeddings, attended, None, None, loss_at, step=step, relative=relative, norm=norm)
    moved = seen[1] - embeddings
    sizes = (embeddings * attended[..., None]).flatten(1).norm(dim=-1) if relative else attended.any(-1).to(dtype)
    torch.testing.assert_close(moved.flatten(1).norm(dim=-1), step * sizes, rtol=1e-3, atol=1e-6)
    assert not moved[~attended].any()
    assert value.dtype == dtype


@every_norm
def test_what_the_padding_holds_does_not_change_the_penalty(norm):
    embeddings, attended = random_batch([2, 5, 1], 2)
    garbage = torch.where(attended[..., None], embeddings, 50.0)
    others = (attended, labels_for(attended, 2), random_weights(2, 2))
    torch.testing.assert_close(penalty(garbage, *others, norm=norm), penalty(embeddings, *others, norm=norm))


@every_norm
def test_a_gradient_on_padding_is_not_counted(norm):
    embeddings, attended = torch.ones(1, 3, 2), torch.tensor([[True, False, False]])
    value = penalty(embeddings, attended, None, None, lambda x: x.sum((1, 2)), norm=norm)
    assert value.item() == pytest.approx({"squared_l2": 2.0, "l21": 2**0.5, "l1": 2.0}[norm], rel=1e-4)


@every_norm
@pytest.mark.parametrize("lengths", [[1], [0], [0, 3], [1, 1]])
@pytest.mark.parametrize("confidence", [1.0, 1e4])
def test_values_and_gradients_are_finite_for_texts_at_the_edge(lengths, confidence, norm):
    embeddings, attended = random_batch(lengths, 2, torch.float32)
    inner, query, outer = random_weights(2, 2, torch.float32)
    inputs = leaves(embeddings, (inner, query, confidence * outer))
    for labels in (torch.zeros(len(lengths), dtype=torch.long), torch.ones(len(lengths), dtype=torch.long)):
        value = penalty(inputs[0], attended, labels, inputs[1:], norm=norm)
        assert value.isfinite()
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, inputs))


@every_norm
@pytest.mark.parametrize("relative", [True, False])
def test_a_flat_loss_has_no_penalty_and_a_finite_gradient(norm, relative):
    weight = torch.zeros((), requires_grad=True)
    embeddings, attended = torch.ones(1, 2, 2), torch.ones(1, 2, dtype=torch.bool)
    value = penalty(
        embeddings, attended, None, None, lambda x: weight * x.square().sum((1, 2)), norm=norm, relative=relative
    )
    value.backward()
    assert value == 0
    assert weight.grad.isfinite()


@every_norm
def test_a_text_whose_embeddings_are_zero_adds_nothing_relatively(norm):
    embeddings, attended = torch.zeros(1, 2, 2), torch.ones(1, 2, dtype=torch.bool)
    weight = torch.ones((), requires_grad=True)
    value = penalty(embeddings, attended, None, None, lambda x: weight * x.sum((1, 2)), norm=norm)
    value.backward()
    assert value == 0
    assert weight.grad == 0


def test_gradient_descent_on_the_penalty_lowers_the_exact_one():
    embeddings, attended = random_batch([3, 5, 4], 2)
    labels, inputs = torch.tensor([0, 1, 0]), leaves(embeddings, random_weights(2, 2))

    def exact(weights):
        losses = cross_entropy_at(attended, labels, weights)(inputs[0])
        return input_gradient_penalty(losses, inputs[0], attended)

    slopes = torch.autograd.grad(penalty(inputs[0], attended, labels, inputs[1:]), inputs[1:])
    stepped = [weight - 1e-3 * slope for weight, slope in zip(inputs[1:], slopes, strict=True)]
    assert exact(stepped) < exact(inputs[1:])


def test_no_grad_field_is_touched():
    embeddings, attended = random_batch([3, 5], 2)
    inputs = leaves(embeddings, random_weights(2, 2))
    penalty(inputs[0], attended, torch.tensor([0, 1]), inputs[1:])
    assert all(leaf.grad is None for leaf in inputs)


@pytest.mark.parametrize("step", [0.0, -0.1, float("nan")])
def test_a_step_that_goes_nowhere_is_refused(step):
    embeddings, attended = random_batch([2], 2)
    with pytest.raises(ValueError, match="step must be positive, got"):
        penalty(embeddings, attended, torch.tensor([0]), random_weights(2, 2), step=step)


def test_an_unknown_norm_is_refused():
    embeddings, attended = random_batch([2], 2)
    with without_type_checks(), pytest.raises(ValueError, match="norm must be 'squared_l2', 'l21' or 'l1', got 'l2'"):
        penalty(embeddings, attended, torch.tensor([0]), random_weights(2, 2), norm="l2")


@pytest.mark.parametrize("lengths", [[1], [3, 5]])
@pytest.mark.parametrize("averaged", ["loss_at", "loss_per_example"])
def test_a_loss_that_is_an_average_already_is_refused(averaged, lengths):
    embeddings, attended = random_batch(lengths, 2)
    each = cross_entropy_at(attended, labels_for(lengths, 2), random_weights(2, 2))
    losses, loss_at = each(embeddings), each
    if averaged == "loss_at":
        loss_at = lambda x: each(x).mean()  # noqa: E731
    else:
        losses = losses.mean()
    with without_type_checks(), pytest.raises(ValueError, match=r"one loss per example .* reduction='none'"):
        finite_difference_penalty(loss_at, embeddings, attended, torch.ones_like(embeddings), losses)
