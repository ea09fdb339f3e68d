"""Infidelity and max-sensitivity: against captum with the same perturbations, by hand, and their guarantees."""

import captum.metrics
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.unchecked import without_type_checks

from regex_lib.metrics import infidelity, max_sensitivity, random_perturbations

many = settings(deadline=None, max_examples=40)
LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=4)


def forward(x):
    """A curved function of embeddings, one number for each example."""
    return torch.tanh(x).mul(torch.linspace(-1, 2, x.shape[-1], dtype=x.dtype)).sum(dim=(1, 2)) + x.prod(dim=2).sum(
        dim=1
    )


def explain(x):
    """Its gradient times its input."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(forward(leaf).sum(), leaf)
    return leaf.detach() * gradient


def case(batch=3, tokens=4, dim=2, samples=5, dtype=torch.float64):
    x, attribution = torch.randn(2, batch, tokens, dim, dtype=dtype)
    return x, attribution, 0.3 * torch.randn(samples, batch, tokens, dim, dtype=dtype)


def one_example_after_the_other(perturbations):
    """As captum repeats its inputs: all samples of the first example, then those of the second."""
    return perturbations.transpose(0, 1).flatten(0, 1)


def captum_infidelity(x, attribution, perturbations, normalise):
    rows = one_example_after_the_other(perturbations)
    return captum.metrics.infidelity(
        forward,
        lambda inputs: (rows, inputs - rows),
        x,
        attribution,
        n_perturb_samples=len(perturbations),
        normalize=normalise,
    )


# Against captum


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_infidelity_equals_captum(normalise, dtype):
    x, attribution, perturbations = case(dtype=dtype)
    actual = infidelity(forward, x, attribution, perturbations, normalise=normalise)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual, captum_infidelity(x, attribution, perturbations, normalise))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_max_sensitivity_equals_captum(dtype):
    x, _, perturbations = case(dtype=dtype)
    rows = one_example_after_the_other(perturbations)
    expected = captum.metrics.sensitivity_max(
        lambda inputs: (explain(inputs[0]),) if isinstance(inputs, tuple) else explain(inputs),
        x,
        perturb_func=lambda inputs: inputs + rows,
        n_perturb_samples=len(perturbations),
    )
    actual = max_sensitivity(explain, x, perturbations)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual, expected)


# Infidelity


def test_infidelity_as_calculated_by_hand():
    x, weights = torch.tensor([[1.0, 2.0]]), torch.tensor([3.0, -1.0])
    perturbations = torch.tensor([[[0.5, 0.0]], [[0.0, 1.0]]])
    # The output falls by 1.5 and by -1; attributions of 1 and 0 predict .5 and 0.
    value = infidelity(lambda x: x @ weights, x, torch.tensor([[1.0, 0.0]]), perturbations)
    assert value.item() == pytest.approx((1.0**2 + 1.0**2) / 2)


@many
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))
def test_the_gradient_of_a_linear_model_is_faithful(batch, tokens, samples):
    x, _, perturbations = case(batch, tokens, 2, samples)
    weights = torch.randn(tokens, 2, dtype=x.dtype)
    value = infidelity(lambda x: (x * weights).sum(dim=(1, 2)), x, weights.expand_as(x), perturbations)
    torch.testing.assert_close(value, torch.zeros_like(value))


@many
@given(st.sampled_from([-4.0, 0.25, 10.0]), st.integers(1, 5))
def test_when_normalised_the_unit_of_the_attribution_does_not_matter(unit, samples):
    x, attribution, perturbations = case(samples=samples)
    best = infidelity(forward, x, attribution, perturbations, normalise=True)
    torch.testing.assert_close(infidelity(forward, x, unit * attribution, perturbations, normalise=True), best)
    assert (best <= infidelity(forward, x, unit * attribution, perturbations) + 1e-12).all()


def test_whole_tokens_may_be_removed():
    weights = torch.tensor([0.5, 0.2, 0.1])
    present = torch.ones(2, 3)
    removed = torch.tensor([[[1.0, 0, 0], [0, 1.0, 1.0]]])
    value = infidelity(lambda present: present @ weights, present, weights.expand(2, 3), removed)
    assert value.tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_an_attribution_of_zeros_has_a_finite_infidelity():
    x, attribution, perturbations = case()
    for normalise in (False, True):
        value = infidelity(forward, x, torch.zeros_like(attribution), perturbations, normalise=normalise)
        drops = torch.stack([forward(x) - forward(x - p) for p in perturbations])
        torch.testing.assert_close(value, drops.square().mean(dim=0))


# Max-sensitivity


def test_a_constant_attribution_is_never_sensitive():
    x, attribution, perturbations = case()
    assert not max_sensitivity(lambda _: attribution, x, perturbations).any()
    assert not max_sensitivity(lambda x: torch.zeros(len(x), 4), x, perturbations).any()


@many
@given(st.sampled_from([0.5, 3.0]), st.integers(1, 4))
def test_neither_the_unit_nor_the_sign_of_the_attribution_matters(unit, samples):
    x, _, perturbations = case(samples=samples)
    value = max_sensitivity(explain, x, perturbations)
    torch.testing.assert_close(max_sensitivity(lambda x: -unit * explain(x), x, perturbations), value)


def test_more_perturbations_never_lower_the_maximum():
    x, _, perturbations = case(samples=6)
    values = torch.stack([max_sensitivity(explain, x, perturbations[:n]) for n in range(1, 7)])
    assert (values.diff(dim=0) >= 0).all()


def test_neither_padding_nor_the_order_of_the_batch_changes_the_values():
    x, attribution, perturbations = case()
    wide = [F.pad(tensor, (0, 0, 0, 2)) for tensor in (x, attribution, perturbations)]
    faithful, stable = infidelity(forward, x, attribution, perturbations), max_sensitivity(explain, x, perturbations)
    torch.testing.assert_close(infidelity(forward, *wide), faithful)
    torch.testing.assert_close(max_sensitivity(explain, wide[0], wide[2]), stable)
    back = x.flip(0), attribution.flip(0), perturbations.flip(1)
    torch.testing.assert_close(infidelity(forward, *back).flip(0), faithful)
    torch.testing.assert_close(max_sensitivity(explain, back[0], back[2]).flip(0), stable)


def test_its_documentation_warns_of_reporting_it_alone():
    assert "Never report it alone" in max_sensitivity.__doc__


# The noise


@many
@given(LENGTHS, st.floats(0, 2), st.booleans(), st.sampled_from(["f4", "f8"]))
def test_noise_stays_in_its_cube_and_off_the_padding(lengths, radius, relative, kind):
    dtype = {"f4": torch.float32, "f8": torch.float64}[kind]
    mask = torch.arange(max(lengths) + 1) < torch.tensor(lengths)[:, None]
    x = torch.randn(*mask.shape, 3, dtype=dtype)
    noise = random_perturbations(x, mask, samples=4, radius=radius, relative=relative, seeds=torch.arange(len(lengths)))
    assert noise.dtype == dtype
    assert noise.shape == (4, *x.shape)
    assert not noise[:, ~mask].any()
    for example, counts in enumerate(mask):
        unit = x[example, counts].square().mean().sqrt() if relative and counts.any() else 1.0
        assert (noise[:, example].abs() <= radius * unit * (1 + 1e-5)).all()


def test_noise_fills_its_cube_evenly():
    noise = random_perturbations(
        torch.ones(1, 50, 20), torch.ones(1, 50, dtype=torch.bool), samples=20, radius=0.3, seeds=torch.tensor([1])
    )
    edges = torch.linspace(-0.3, 0.3, 7)
    shares = torch.histc(noise, bins=6, min=-0.3, max=0.3) / noise.numel()
    assert shares.tolist() == pytest.approx([1 / 6] * (len(edges) - 1), abs=0.02)


def test_noise_depends_on_the_examples_own_seed_and_tokens_only():
    mask = torch.tensor([[True, True, False], [True, True, True]])
    x, seeds = torch.randn(2, 3, 2), torch.tensor([5, 6])
    before = torch.get_rng_state()
    noise = random_perturbations(x, mask, seeds=seeds)
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(random_perturbations(x[:1, :2], mask[:1, :2], seeds=seeds[:1]), noise[:, :1, :2])
    torch.testing.assert_close(random_perturbations(x.flip(0), mask.flip(0), seeds=seeds.flip(0)).flip(1), noise)
    assert not torch.equal(random_perturbations(x, mask, seeds=seeds + 1), noise)


def test_a_mask_of_zeros_and_ones_is_the_same_mask():
    mask, x, seeds = torch.tensor([[True, True, False], [True, False, True]]), torch.randn(2, 3, 2), torch.arange(2)
    with without_type_checks():
        noise = random_perturbations(x, mask.long(), seeds=seeds)
    assert torch.equal(noise, random_perturbations(x, mask, seeds=seeds))


@pytest.mark.parametrize("options", [{"samples": 0}, {"radius": -0.1}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValueError, match="samples must be 1 or more and radius 0 or more"):
        random_perturbations(torch.ones(1, 2, 2), torch.ones(1, 2).bool(), seeds=torch.tensor([0]), **options)
