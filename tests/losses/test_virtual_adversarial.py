"""Virtual adversarial training: the perturbation, the loss on it, their derivatives, and texts at the edge."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import regularisers
from reference.loss_cases import case, seeded, with_weights
from reference.tiny_network import in_numpy, predict, random_batch, random_weights
from reference.unchecked import without_type_checks

from regex_lib.losses import output_divergence, virtual_adversarial_loss, virtual_adversarial_perturbation

NORMS, DIVERGENCES = ["l2", "token_l2"], ["kl", "symmetric_kl"]
every_norm = pytest.mark.parametrize("norm", NORMS)
every_divergence = pytest.mark.parametrize("divergence", DIVERGENCES)
LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=4)


def perturbation_of(*inputs, seed=0, **options):
    return virtual_adversarial_perturbation(*inputs, generator=seeded(seed), **options)


def loss_of(*inputs, seed=0, **options):
    return virtual_adversarial_loss(*inputs, generator=seeded(seed), **options)


def sizes(vectors, norm):
    return vectors.flatten(1).norm(dim=-1) if norm == "l2" else vectors.norm(dim=-1)


def reference_perturbations(embeddings, attended, weights, seed=0, **options):
    noise = torch.randn(embeddings.shape, generator=seeded(seed), dtype=embeddings.dtype)
    return [
        regularisers.virtual_adversarial_perturbation(
            in_numpy(weights, mask), *(x.double().numpy() for x in (e, mask, d)), **options
        )
        for e, mask, d in zip(embeddings, attended, noise, strict=True)
    ]


def reference_loss(embeddings, attended, weights, seed=0, **options):
    perturbations = reference_perturbations(embeddings, attended, weights, seed, **options)
    total = 0.0
    for e, mask, r in zip(embeddings.double().numpy(), attended, perturbations, strict=True):
        logits = in_numpy(weights, mask)
        total += regularisers.output_divergence(logits(e), logits(e + r), options["divergence"])
    return total / len(embeddings)


# The divergence of two predictions


@every_divergence
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("batch", "classes"), [(1, 2), (4, 3), (7, 10)])
def test_the_divergence_of_predictions_equals_the_formula(batch, classes, dtype, divergence):
    logits, other = torch.randn(2, batch, classes, dtype=dtype)
    expected = [
        regularisers.output_divergence(p, q, divergence)
        for p, q in zip(logits.double().numpy(), other.double().numpy(), strict=True)
    ]
    actual = output_divergence(logits, other, divergence=divergence)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-6)


@every_divergence
def test_the_divergence_of_predictions_has_right_derivatives(divergence):
    logits, other = torch.randn(2, 3, 4, dtype=torch.float64)

    def between(logits, other):
        return output_divergence(logits, other, divergence=divergence)

    inputs = [logits.requires_grad_(), other.requires_grad_()]
    assert torch.autograd.gradcheck(between, inputs)
    assert torch.autograd.gradgradcheck(between, inputs)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6), st.floats(-100, 100), st.sampled_from(DIVERGENCES))
def test_predictions_diverge_from_themselves_by_nothing_however_their_logits_are_shifted(row, shift, divergence):
    logits = torch.tensor([row], dtype=torch.float64)
    assert output_divergence(logits, logits, divergence=divergence).item() == 0
    assert output_divergence(logits, logits + shift, divergence=divergence).item() == pytest.approx(0, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 6).flatmap(lambda n: st.lists(st.floats(-30, 30), min_size=2 * n, max_size=2 * n)))
def test_the_symmetric_divergence_adds_both_orders_and_none_is_negative(numbers):
    logits, other = torch.tensor(numbers, dtype=torch.float64).view(2, 1, -1)
    there, back = output_divergence(logits, other), output_divergence(other, logits)
    torch.testing.assert_close(output_divergence(logits, other, divergence="symmetric_kl"), there + back)
    assert there.item() >= -1e-12


@every_divergence
def test_saturated_predictions_diverge_by_a_finite_amount(divergence):
    logits, other = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]], requires_grad=True)
    value = output_divergence(logits, other, divergence=divergence)
    value.sum().backward()
    assert value.item() == {"kl": 2e4, "symmetric_kl": 4e4}[divergence]
    assert other.grad.isfinite().all()


@every_divergence
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_divergence_of_close_half_precision_predictions_is_not_negative(divergence, dtype):
    logits = 5 * torch.randn(200, 3)
    logits, other = logits.to(dtype), (logits + 0.05 * torch.randn(200, 3)).to(dtype)
    actual = output_divergence(logits, other, divergence=divergence)
    pairs = zip(logits.double().numpy(), other.double().numpy(), strict=True)
    expected = torch.tensor([regularisers.output_divergence(p, q, divergence) for p, q in pairs])
    assert actual.dtype == torch.float32
    assert (actual >= -1e-6).all()
    torch.testing.assert_close(actual.double(), expected.double(), atol=1e-5, rtol=1e-3)


# The perturbation


@every_norm
@every_divergence
@pytest.mark.parametrize("power_iterations", [0, 1, 3])
@pytest.mark.parametrize("relative", [True, False])
def test_the_perturbation_equals_power_iteration_by_finite_differences(norm, divergence, power_iterations, relative):
    forward, embeddings, attended, logits = case()
    options = {
        "epsilon": 0.3, "relative": relative, "xi": 0.5, "power_iterations": power_iterations, "norm": norm,
        "divergence": divergence,
    }  # fmt: skip
    actual = perturbation_of(forward, embeddings, attended, logits, **options)
    expected = reference_perturbations(embeddings, attended, random_weights(2, 3, seed=2), **options)
    for row, expected_row in zip(actual, expected, strict=True):
        torch.testing.assert_close(row, torch.from_numpy(expected_row), atol=1e-6, rtol=1e-6)


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.floats(1e-3, 10), st.sampled_from(NORMS), st.sampled_from(["f4", "f8"]), st.integers(0, 2))
def test_a_relative_epsilon_is_a_share_of_the_embeddings_norm(lengths, epsilon, norm, kind, power_iterations):
    dtype = {"f4": torch.float32, "f8": torch.float64}[kind]
    forward, embeddings, attended, logits = case(lengths, dtype=dtype)
    r = perturbation_of(
        forward, embeddings, attended, logits, epsilon=epsilon, norm=norm, power_iterations=power_iterations
    )
    torch.testing.assert_close(sizes(r, norm), epsilon * sizes(embeddings * attended[..., None], norm))


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.floats(1e-3, 10), st.sampled_from(NORMS), st.integers(0, 2))
def test_an_absolute_epsilon_is_the_norm_itself(lengths, epsilon, norm, power_iterations):
    forward, embeddings, attended, logits = case(lengths)
    r = perturbation_of(
        forward, embeddings, attended, logits,
        epsilon=epsilon, relative=False, norm=norm, power_iterations=power_iterations,
    )  # fmt: skip
    moved = attended.any(dim=-1) if norm == "l2" else attended
    torch.testing.assert_close(sizes(r, norm), epsilon * moved.double())


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.sampled_from(NORMS), st.booleans(), st.integers(0, 2))
def test_padding_is_never_perturbed(lengths, norm, relative, power_iterations):
    forward, embeddings, attended, logits = case(lengths)
    r = perturbation_of(
        forward, embeddings, attended, logits, norm=norm, relative=relative, power_iterations=power_iterations
    )
    assert not r[~attended].any()


@every_norm
def test_a_text_whose_embeddings_are_zero_is_not_perturbed_relatively(norm):
    forward, embeddings, attended, _ = case([3])
    zeros = torch.zeros_like(embeddings)
    r = perturbation_of(forward, zeros, attended, forward(zeros, attended), norm=norm)
    assert r.isfinite().all()
    assert not r.any()


def test_with_two_classes_one_iteration_finds_the_direction_of_the_steepest_change():
    forward, embeddings, attended, logits = case([4, 3, 5], classes=2)
    r = perturbation_of(forward, embeddings, attended, logits, xi=1e-3)
    leaf = embeddings.clone().requires_grad_()
    (steepest,) = torch.autograd.grad(forward(leaf, attended).diff(dim=-1).sum(), leaf)
    assert (F.cosine_similarity(r.flatten(1), steepest.flatten(1)).abs() > 0.999).all()


@every_norm
def test_on_average_one_iteration_changes_the_prediction_more_than_a_random_direction(norm):
    inputs = case([5] * 64, dim=4)
    random, refined, more = (
        sum(loss_of(*inputs, seed=seed, power_iterations=n, norm=norm, xi=0.01) for seed in range(5)) for n in (0, 1, 4)
    )
    assert refined > 1.5 * random
    assert more > 0.99 * refined


def test_the_generator_decides_the_direction():
    inputs = case()
    options = {"power_iterations": 0}
    assert torch.equal(perturbation_of(*inputs, seed=3, **options), perturbation_of(*inputs, seed=3, **options))
    assert not torch.equal(perturbation_of(*inputs, seed=3, **options), perturbation_of(*inputs, seed=4, **options))


def test_the_global_random_state_is_left_alone_when_there_is_a_generator():
    before = torch.get_rng_state()
    perturbation_of(*case())
    assert torch.equal(before, torch.get_rng_state())


def test_the_perturbation_carries_no_graph():
    forward, embeddings, attended, logits = case()
    r = perturbation_of(forward, embeddings.requires_grad_(), attended, logits)
    assert not r.requires_grad


@every_norm
def test_a_model_that_does_not_react_keeps_the_random_direction(norm):
    _, embeddings, attended, _ = case()

    def constant(embeddings, attention_mask):
        return 0 * embeddings.sum((1, 2))[:, None] + torch.tensor([1.0, 2.0])

    inputs = (constant, embeddings, attended, constant(embeddings, attended))
    torch.testing.assert_close(
        perturbation_of(*inputs, norm=norm), perturbation_of(*inputs, norm=norm, power_iterations=0)
    )


@every_norm
def test_a_model_that_reacts_by_almost_nothing_still_shows_its_direction(norm):
    _, embeddings, attended, _ = case(dtype=torch.float32)

    def faint(embeddings, attention_mask):
        return 1e-25 * embeddings[..., 0].sum(dim=1, keepdim=True) * torch.tensor([1.0, -1.0])

    # The gradient is about 1e-25: its square is no float32 number.
    r = perturbation_of(faint, embeddings, attended, faint(embeddings, attended), norm=norm, xi=1e25)
    assert not r[..., 1].any()
    torch.testing.assert_close(sizes(r, norm), 0.1 * sizes(embeddings * attended[..., None], norm))


# The loss


@every_norm
@every_divergence
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("lengths", "dim", "classes"), [([1], 1, 2), ([3, 5, 1], 2, 3), ([4, 0, 2], 3, 2)])
def test_the_loss_equals_the_reference(lengths, dim, classes, dtype, norm, divergence):
    inputs = case(lengths, dim, classes, dtype)
    options = {
        "epsilon": 0.3, "relative": True, "xi": 0.5, "power_iterations": 1, "norm": norm, "divergence": divergence,
    }  # fmt: skip
    expected = reference_loss(inputs[1], inputs[2], random_weights(dim, classes, dtype, 2), **options)
    actual = loss_of(*inputs, **options)
    assert actual.dtype == dtype
    assert actual.item() == pytest.approx(expected, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(LENGTHS, st.integers(0, 1000), st.sampled_from(NORMS), st.floats(0.05, 1))
def test_the_loss_equals_the_reference_whatever_the_lengths(lengths, seed, norm, epsilon):
    inputs = case(lengths, seed=seed)
    options = {
        "epsilon": epsilon, "relative": True, "xi": 0.5, "power_iterations": 1, "norm": norm, "divergence": "kl",
    }  # fmt: skip
    expected = reference_loss(inputs[1], inputs[2], random_weights(2, 3, seed=seed), **options)
    assert loss_of(*inputs, **options).item() == pytest.approx(expected, abs=1e-6)


@every_norm
@every_divergence
def test_along_a_fixed_direction_its_derivatives_agree_with_finite_differences(norm, divergence):
    _, embeddings, attended, logits = case([2, 1], classes=2)
    options = {"epsilon": 0.5, "relative": False, "power_iterations": 0, "norm": norm, "divergence": divergence}

    def loss(embeddings, *weights):
        return loss_of(with_weights(weights), embeddings, attended, logits, **options)

    inputs = [tensor.clone().requires_grad_() for tensor in (embeddings, *random_weights(2, 2))]
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@pytest.mark.parametrize("relative", [True, False])
def test_its_gradient_takes_the_perturbation_as_constant(relative):
    _, embeddings, attended, logits = case([3, 2])
    inputs = [tensor.clone().requires_grad_() for tensor in (embeddings, *random_weights(2, 3))]
    options = {"epsilon": 0.5, "xi": 0.5, "relative": relative}
    r = perturbation_of(with_weights(inputs[1:]), embeddings, attended, logits, **options)

    def with_r_constant(embeddings, *weights):
        return output_divergence(logits, predict(embeddings + r, attended, weights)).mean()

    loss = loss_of(with_weights(inputs[1:]), inputs[0], attended, logits, **options)
    torch.testing.assert_close(torch.autograd.grad(loss, inputs), torch.autograd.grad(with_r_constant(*inputs), inputs))
    assert torch.autograd.gradcheck(with_r_constant, inputs)


def test_the_clean_prediction_receives_no_gradient():
    forward, embeddings, attended, logits = case()
    logits = logits.detach().requires_grad_()
    embeddings.requires_grad_()
    loss_of(forward, embeddings, attended, logits).backward()
    assert logits.grad is None
    assert embeddings.grad.any()


@pytest.mark.parametrize("already", [None, 7.0])
def test_searching_the_direction_leaves_every_grad_field_as_it_was(already):
    _, embeddings, attended, _ = case()
    leaves = [tensor.clone().requires_grad_() for tensor in (embeddings, *random_weights(2, 3))]
    for leaf in leaves:
        leaf.grad = None if already is None else torch.full_like(leaf, already)
    forward = with_weights(leaves[1:])
    loss_of(forward, leaves[0], attended, forward(leaves[0], attended), power_iterations=3)
    for leaf in leaves:
        assert leaf.requires_grad
        assert leaf.grad is None if already is None else (leaf.grad == already).all()


def test_no_label_is_asked_for():
    assert not any("label" in name for name in inspect.signature(virtual_adversarial_loss).parameters)


def test_renaming_the_classes_does_not_change_the_loss():
    forward, embeddings, attended, logits = case()
    renamed = (lambda e, mask: forward(e, mask)[:, [2, 0, 1]], embeddings, attended, logits[:, [2, 0, 1]])
    torch.testing.assert_close(loss_of(*renamed), loss_of(forward, embeddings, attended, logits))


@every_norm
def test_what_the_padding_holds_does_not_change_the_loss(norm):
    forward, embeddings, attended, logits = case([2, 5, 1])
    garbage = torch.where(attended[..., None], embeddings, 50.0)
    torch.testing.assert_close(
        loss_of(forward, garbage, attended, logits, norm=norm),
        loss_of(forward, embeddings, attended, logits, norm=norm),
    )


def test_more_padding_does_not_change_the_worst_case():
    # Two classes have one worst direction, whatever the random start; its sign matters little at this size.
    forward, embeddings, attended, logits = case([4, 3], classes=2)
    padded = (forward, F.pad(embeddings, (0, 0, 0, 3)), F.pad(attended, (0, 3)), logits)
    options = {"epsilon": 1e-3, "xi": 1e-3, "power_iterations": 3}
    torch.testing.assert_close(
        loss_of(*padded, **options), loss_of(forward, embeddings, attended, logits, **options), rtol=1e-2, atol=0
    )


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.sampled_from(NORMS), st.sampled_from(DIVERGENCES), st.integers(0, 2))
def test_the_loss_is_never_negative(lengths, norm, divergence, power_iterations):
    value = loss_of(*case(lengths), norm=norm, divergence=divergence, power_iterations=power_iterations)
    assert value.item() >= -1e-12


def test_no_perturbation_costs_nothing():
    assert loss_of(*case(), epsilon=0.0).item() == 0


@every_norm
@every_divergence
@pytest.mark.parametrize("lengths", [[1], [0], [0, 3], [1, 1]])
@pytest.mark.parametrize("confidence", [1.0, 1e4])
def test_values_and_gradients_are_finite_for_texts_at_the_edge(lengths, confidence, norm, divergence):
    embeddings, attended = random_batch(lengths, 2, torch.float32)
    inner, query, outer = random_weights(2, 2, torch.float32)
    weights = [weight.clone().requires_grad_() for weight in (inner, query, confidence * outer)]
    embeddings.requires_grad_()
    forward = with_weights(weights)
    value = loss_of(forward, embeddings, attended, forward(embeddings, attended), norm=norm, divergence=divergence)
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, [embeddings, *weights]))


def test_a_text_of_padding_alone_adds_nothing():
    forward, embeddings, attended, logits = case([0, 0])
    assert loss_of(forward, embeddings, attended, logits).item() == 0


# Errors


def test_an_unknown_norm_is_refused():
    with without_type_checks(), pytest.raises(ValueError, match="norm must be 'l2' or 'token_l2', got 'inf'"):
        loss_of(*case(), norm="inf")


@pytest.mark.parametrize("function", [loss_of, perturbation_of])
def test_an_unknown_divergence_is_refused(function):
    with without_type_checks(), pytest.raises(ValueError, match="divergence must be 'kl' or 'symmetric_kl', got 'js'"):
        function(*case(), divergence="js")
