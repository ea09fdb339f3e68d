"""Gradients at the input, around it and on the way to it: against captum, closed forms and finer sums."""

import math

import captum.attr
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import attributions as reference
from reference.tiny_network import predict, random_batch, random_weights
from reference.unchecked import without_type_checks
from torch.testing import assert_close

from regex_lib.attributions import (
    baseline_embeddings,
    expected_gradients,
    gradient_norm,
    integrated_gradients,
    logits_and_gradient,
    score_batch,
    smooth_grad,
)
from regex_lib.attributions.quadrature import path_ends, path_points
from regex_lib.attributions.sampling import example_generators, packed
from regex_lib.errors import UserError

TEXTS = ["a fine film", "dull and very bad acting but a great plot", "never", "not great not bad"]
QUADRATURES = ["equal_angle", "midpoint", "gauss_legendre"]
NESTED = ["equal_angle", "midpoint"]
LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=4)


def with_weights(weights):
    return lambda embeddings, attention_mask: predict(embeddings, attention_mask, weights)


def case(lengths=(3, 5, 1), dim=2, classes=3, dtype=torch.float64, seed=2):
    """A model, a batch and the classes to explain."""
    embeddings, attended = random_batch(list(lengths), dim, dtype, seed)
    forward = with_weights(random_weights(dim, classes, dtype, seed))
    return forward, embeddings, attended, torch.arange(len(lengths)) % classes


def baselines_of(embeddings, attended, seed=7):
    """Random ones, equal to the input on the padding."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(embeddings.shape, generator=generator, dtype=torch.float64).to(embeddings)
    return torch.where(attended[..., None], drawn, embeddings)


def seeded(count, seed=0):
    return [torch.Generator().manual_seed(seed + row) for row in range(count)]


# The gradient at the input


def test_one_pass_gives_logits_and_the_gradient_of_the_predicted_class(tiny):
    batch = tiny.tokenize(TEXTS)
    calls = []

    def forward(embeddings, attention_mask):
        calls.append(len(embeddings))
        return tiny(embeddings, attention_mask).logits

    logits, gradient = logits_and_gradient(forward, tiny.embed(batch.input_ids), batch.attention_mask)
    assert calls == [4]
    assert not logits.requires_grad
    with torch.no_grad():
        expected = tiny(tiny.embed(batch.input_ids), batch.attention_mask).logits
    assert_close(logits, expected)
    saliency = captum.attr.Saliency(tiny.forward_func()).attribute(
        tiny.embed(batch.input_ids).detach().requires_grad_(),
        target=expected.argmax(dim=-1),
        abs=False,
        additional_forward_args=(batch.attention_mask,),
    )
    assert_close(gradient, saliency)


def test_gradient_norm_is_the_length_of_captums_saliency(tiny):
    batch, target = tiny.tokenize(TEXTS), torch.tensor([0, 1, 1, 0])
    saliency = captum.attr.Saliency(tiny.forward_func()).attribute(
        tiny.embed(batch.input_ids).detach().requires_grad_(),
        target=target,
        additional_forward_args=(batch.attention_mask,),
    )
    expected = saliency.square().sum(dim=-1).sqrt().masked_fill(~batch.content_mask, 0.0)
    assert expected.max() > 1e-3
    assert_close(score_batch(tiny, batch, "gradient_norm", target), expected)


def test_gradient_norm_is_that_of_finite_differences():
    forward, embeddings, attended, target = case()
    norms, step = gradient_norm(forward, embeddings, attended, target), 1e-6
    for row, token in [(0, 0), (0, 2), (1, 4), (2, 0)]:
        slopes = []
        for d in range(embeddings.shape[2]):
            values = []
            for sign in (1, -1):
                moved = embeddings.clone()
                moved[row, token, d] += sign * step
                values.append(forward(moved, attended)[row, target[row]])
            slopes.append((values[0] - values[1]) / (2 * step))
        assert float(norms[row, token]) == pytest.approx(float(torch.stack(slopes).norm()), rel=1e-6)


# Around the input


def test_smooth_grad_is_captums_noise_tunnel_with_the_same_noise(make_tiny, monkeypatch):
    """Captum draws its noise inside; here both are given the same draws."""
    classifier = make_tiny()
    batch, target = classifier.tokenize(["a fine film"]), torch.tensor([1])
    embeddings = classifier.embed(batch.input_ids).detach()
    deviation = 0.5 * embeddings.norm(dim=-1, keepdim=True) / 4
    generator = torch.Generator().manual_seed(3)
    noise = torch.stack([torch.randn(5, 16, generator=generator) for _ in range(6)])
    monkeypatch.setattr(torch, "normal", lambda mean, std, **options: (noise * deviation).reshape(std.shape))
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(classifier.forward_func())).attribute(
        embeddings, nt_samples=6, nt_type="smoothgrad", stdevs=1.0, target=target, abs=False,
        additional_forward_args=(batch.attention_mask,),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    ours = smooth_grad(
        classifier.forward_func(), embeddings, batch.attention_mask, target, [generator], n_samples=6, noise=0.5
    )
    assert_close(ours, (embeddings * tunnel).sum(dim=-1), rtol=1e-4, atol=1e-5)


def test_smooth_grad_without_noise_is_input_times_gradient(tiny):
    batch, target = tiny.tokenize(TEXTS), torch.tensor([0, 1, 1, 0])
    smooth, plain = (
        score_batch(tiny, batch, name, target, **options)
        for name, options in (("smooth_grad", {"noise": 0.0, "n_samples": 3}), ("input_x_gradient", {}))
    )
    assert_close(smooth, plain, rtol=1e-4, atol=1e-5)


def test_the_noise_of_smooth_grad_has_the_length_asked_for():
    """On f = |e|^2 / 2 the gradient is the point itself, so that the score tells the mean noise."""
    embeddings = torch.randn(1, 1, 200, dtype=torch.float64)
    seen = []

    def forward(points, attention_mask):
        seen.append(points.detach() - embeddings)
        return (points.square().sum((1, 2)) / 2)[:, None]

    attended = torch.ones(1, 1, dtype=torch.bool)
    smooth_grad(forward, embeddings, attended, torch.tensor([0]), seeded(1), n_samples=200, noise=0.3)
    noise = torch.cat(seen)[:, 0]
    assert len(noise) == 200
    assert float(noise.norm(dim=-1).mean() / embeddings.norm()) == pytest.approx(0.3, rel=0.02)
    assert float(noise.mean().abs()) < 0.01


def test_smooth_grad_takes_the_attention_mask_of_a_tokenizer():
    attended = torch.tensor([[True, True, False], [True, True, True]])
    embeddings, target = torch.randn(2, 3, 4), torch.tensor([0, 1])

    def forward(points, attention_mask):
        return (points**3 * attention_mask[..., None]).sum(dim=1)[:, :2]

    def scores(mask):
        return smooth_grad(forward, embeddings, mask, target, seeded(2), n_samples=3)

    with without_type_checks():
        found = scores(attended.long())
    assert_close(found, scores(attended), rtol=0, atol=0)


def test_smooth_grad_differs_by_seed_and_converges(make_tiny):
    classifier = make_tiny()
    batch, target = classifier.tokenize(TEXTS), torch.tensor([0, 1, 1, 0])

    def scores(seed, n_samples):
        return score_batch(classifier, batch, "smooth_grad", target, seed=seed, n_samples=n_samples, noise=0.1)

    few, many = ((scores(0, n) - scores(1, n)).abs().mean() for n in (2, 128))
    assert 0 < many < few / 3


# On the way: the quadrature


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(0, 5))
def test_weights_of_every_quadrature_sum_to_one_and_points_rise(n_steps, seed):
    embeddings, _ = random_batch([4, 2], 3, seed=seed)
    baselines = torch.randn_like(embeddings)
    for quadrature in QUADRATURES:
        points, weights = path_points(embeddings, baselines, n_steps, quadrature)
        assert points.shape == weights.shape == (2, n_steps)
        assert_close(weights.sum(dim=1), torch.ones(2, dtype=torch.float64))
        assert (weights > 0).all()
        assert (points.diff(dim=1) > 0).all()
        assert points.min() > 0
        assert points.max() < 1


@pytest.mark.parametrize("pieces", [1, 3, 12])
def test_equal_angles_are_those_of_a_walk_along_the_path(pieces):
    embeddings, _ = random_batch([4, 3], 5)
    baselines = 0.3 * torch.randn_like(embeddings)
    baselines[0, 1] = embeddings[0, 1]  # a token that does not move
    ends = path_ends(embeddings, baselines, pieces, "equal_angle")
    for row in range(2):
        grid, turned = reference.angle_walked(embeddings[row].numpy(), baselines[row].numpy())
        expected = np.interp(np.arange(pieces + 1) / pieces, turned, grid)
        assert np.abs(ends[row].numpy() - expected).max() < 1e-5
    assert pieces == 1 or (ends - path_ends(embeddings, baselines, pieces, "midpoint")).abs().max() > 0.05


@pytest.mark.parametrize("n_steps", [1, 5, 14])
def test_points_are_hale_and_trefethens_in_the_angle(n_steps):
    embeddings, _ = random_batch([4, 3], 5)
    baselines = 0.3 * torch.randn_like(embeddings)
    points, weights = path_points(embeddings, baselines, n_steps, "equal_angle")
    nodes, gauss = np.polynomial.legendre.leggauss(n_steps)
    terms = [(2 * k + 1, math.comb(2 * k, k) / 4**k / (2 * k + 1)) for k in range(5)]  # of the arcsine's series
    total = sum(coefficient for _, coefficient in terms)
    spread = sum(c * nodes**power for power, c in terms) / total
    slope = sum(c * power * nodes ** (power - 1) for power, c in terms) / total
    for row in range(2):
        grid, turned = reference.angle_walked(embeddings[row].numpy(), baselines[row].numpy())
        place = np.interp((spread + 1) / 2, turned, grid)
        assert np.abs(points[row].numpy() - place).max() < 1e-5
        weight = gauss * slope / np.interp(place, grid, np.gradient(turned, grid))
        assert np.abs(weights[row].numpy() - weight / weight.sum()).max() < 1e-4


def test_a_smooth_integrand_is_resolved_as_by_gauss():
    forward, embeddings, attended, target = case()
    baselines = baselines_of(embeddings, attended)
    exact = integrated_gradients(
        forward, embeddings, baselines, attended, target, n_steps=60, quadrature="gauss_legendre"
    )
    few, more = (
        (integrated_gradients(forward, embeddings, baselines, attended, target, n_steps=n) - exact).abs().max()
        for n in (14, 28)
    )
    assert few < 1e-2
    assert more < few / 20, "not by the square of the number of points, as midpoints would"


def test_twice_the_pieces_halve_each_of_them():
    embeddings, _ = random_batch([4, 3], 5)
    for quadrature in NESTED:
        ends, finer = (path_ends(embeddings, torch.zeros_like(embeddings), n, quadrature) for n in (6, 12))
        assert_close(finer[:, ::2], ends, rtol=0, atol=1e-12)


def test_a_path_that_does_not_move_is_cut_evenly():
    embeddings = torch.randn(2, 3, 4)
    baselines = embeddings.clone()
    baselines[1] += 1
    ends = path_ends(embeddings, baselines, 4, "equal_angle")
    assert_close(ends[0], torch.linspace(0, 1, 5))
    assert ends.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_path_to_or_from_nothing_can_be_cut(dtype):
    zero, other = torch.zeros(1, 2, 3, dtype=dtype), torch.ones(1, 2, 3, dtype=dtype)
    for ends in (path_ends(zero, other, 8, "equal_angle"), 1 - path_ends(other, zero, 8, "equal_angle").flip(1)):
        assert ends.isfinite().all()
        assert (ends.diff(dim=1) > 0).all()
        assert_close(ends, path_ends(zero, other, 8, "equal_angle"))


@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_inputs_and_baselines_that_need_gradients_are_constants_here(quadrature):
    forward, embeddings, attended, target = case()
    baselines = baselines_of(embeddings, attended)
    expected = integrated_gradients(forward, embeddings, baselines, attended, target, quadrature=quadrature)
    points = (tensor.detach().clone().requires_grad_() for tensor in (embeddings, baselines))
    scores = integrated_gradients(forward, *points, attended, target, quadrature=quadrature)
    assert not scores.requires_grad
    assert torch.equal(scores, expected)


@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_every_quadrature_converges_to_the_same_integral(quadrature):
    forward, embeddings, attended, target = case()
    baselines = baselines_of(embeddings, attended)
    scores = integrated_gradients(forward, embeddings, baselines, attended, target, n_steps=100, quadrature=quadrature)
    for row in range(len(embeddings)):

        def explained(point, row=row):
            return forward(point[None], attended[row : row + 1])[0, target[row]]

        expected = reference.path_integral(explained, embeddings[row], baselines[row])
        assert_close(scores[row], expected, rtol=1e-3, atol=1e-4)


def test_equal_angles_need_fewer_points_where_the_path_bends():
    """A model that sees only directions, as one that begins with a normalisation does."""
    directions = torch.randn(3, 8, dtype=torch.float64)

    def forward(embeddings, attention_mask):
        shifted = torch.cat([embeddings, torch.full_like(embeddings[..., :1], 0.3)], dim=-1)
        normed = torch.nn.functional.normalize(shifted, dim=-1)[..., :-1]
        return torch.tanh(2 * normed @ directions.T).sum(dim=1)

    embeddings, attended = torch.randn(20, 4, 8, dtype=torch.float64), torch.ones(20, 4, dtype=torch.bool)
    baselines, target = 0.1 * torch.randn_like(embeddings), torch.arange(20) % 3
    exact = integrated_gradients(forward, embeddings, baselines, attended, target, n_steps=400)

    def error(quadrature, n_steps):
        options = {"n_steps": n_steps, "quadrature": quadrature}
        return (integrated_gradients(forward, embeddings, baselines, attended, target, **options) - exact).abs().mean()

    assert error("equal_angle", 8) < error("gauss_legendre", 8) / 2
    assert error("equal_angle", 8) < error("midpoint", 8) / 2


# On the way: as many points as it takes


@pytest.mark.parametrize("quadrature", NESTED)
@pytest.mark.parametrize("tolerance", [0.1, 0.001])
def test_a_tolerance_is_kept_where_the_steps_allow(make_tiny, quadrature, tolerance):
    classifier = make_tiny()
    batch, target = classifier.tokenize(TEXTS), torch.tensor([0, 1, 1, 0])
    scores = score_batch(
        classifier, batch, "integrated_gradients", target,
        n_steps=2, quadrature=quadrature, tolerance=tolerance, max_steps=4096,
    )  # fmt: skip
    with torch.no_grad():
        ends = classifier.embed(batch.input_ids), baseline_embeddings(classifier, batch)
        full, empty = (classifier(end, batch.attention_mask).logits.gather(1, target[:, None])[:, 0] for end in ends)
    assert ((scores.sum(dim=1) - (full - empty)).abs() <= tolerance * (full - empty).abs() + 1e-5).all()


@pytest.mark.parametrize("quadrature", NESTED)
def test_points_are_used_again_and_only_unfinished_examples_go_on(quadrature):
    """The first example is linear, and done at once; the others bend."""
    _, embeddings, attended, target = case((4, 4, 4), classes=1)
    evaluated = []

    def forward(points, attention_mask):
        evaluated.append(points.detach())
        bends = torch.isclose(points[..., 0].sum(dim=1), torch.tensor(9.0, dtype=torch.float64))
        return torch.where(bends, points.sum((1, 2)), points.pow(7).sum((1, 2)))[:, None]

    embeddings[0, :, 0] = baseline = 9.0 / 4
    baselines = 0.1 * torch.randn_like(embeddings)
    baselines[0, :, 0] = baseline
    scores = integrated_gradients(
        forward, embeddings, baselines, attended, torch.zeros_like(target),
        n_steps=2, quadrature=quadrature, tolerance=1e-2, max_steps=64,
    )  # fmt: skip
    points = torch.cat(evaluated).flatten(1)
    own = torch.isclose(points[:, 0], torch.tensor(9.0 / 4, dtype=torch.float64))
    assert int(own.sum()) == 3, "two pieces have three ends"
    assert len(points.unique(dim=0)) == len(points), "no point twice"
    assert len(points) > 3 + 2 * 9
    assert_close(scores[1:], (embeddings.pow(7) - baselines.pow(7)).sum(dim=-1)[1:], rtol=0.05, atol=0.05)
    assert_close(scores[0], (embeddings - baselines)[0].sum(dim=-1))


def test_the_trapezoids_of_the_tolerance_mode_are_captums():
    """With pieces of equal length and no halving it is captum's trapezoid rule, whose points are one more."""
    forward, embeddings, attended, target = case((3, 5, 1))
    baselines = baselines_of(embeddings, attended)
    with pytest.warns(UserWarning, match="3 of 3 examples are not complete with 8 pieces"):
        ours = integrated_gradients(
            forward, embeddings, baselines, attended, target,
            n_steps=8, quadrature="midpoint", tolerance=1e-9, max_steps=8,
        )  # fmt: skip
    expected = captum.attr.IntegratedGradients(forward).attribute(
        embeddings, baselines, target=target, additional_forward_args=(attended,), n_steps=9, method="riemann_trapezoid"
    )
    # Captum's weights are 1/9 where a trapezoid rule over 8 pieces has 1/8.
    assert_close(ours, expected.sum(dim=-1) * 9 / 8, rtol=1e-6, atol=1e-8)


def test_max_steps_bounds_the_work():
    forward, embeddings, attended, target = case()
    calls = []

    def counting(points, attention_mask):
        calls.append(len(points))
        return forward(points, attention_mask)

    baselines = baselines_of(embeddings, attended)
    options = {"n_steps": 3, "tolerance": 1e-12, "max_steps": 20}
    with pytest.warns(UserWarning, match="not complete with 12 pieces"):
        integrated_gradients(counting, embeddings, baselines, attended, target, **options)
    assert sum(calls) == 3 * 13, "3, 6 and 12 pieces, but not 24"


def test_examples_that_stay_incomplete_are_told_with_the_worst_error():
    """The first example does not bend; of the second, one piece gets 1 where the logit changes by 1/2."""
    embeddings, attended = torch.tensor([[[1.0]], [[2.0]]]), torch.ones(2, 1, dtype=torch.bool)

    def forward(points, attention_mask):
        return torch.where(points > 1, (points - 1).square() / 2, torch.zeros_like(points)).flatten(1)

    arguments = forward, embeddings, torch.zeros(2, 1, 1), attended, torch.tensor([0, 0])
    message = "1 of 2 examples are not complete with 1 pieces .*: the worst relative error is 1"
    with pytest.warns(UserWarning, match=message) as told:
        scores = integrated_gradients(*arguments, n_steps=1, tolerance=0.1, max_steps=1)
    assert len(told) == 1
    assert scores.tolist() == [[0.0], [1.0]]


# From nothing


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "gemma", "deberta-v2", "modernbert"])
def test_a_baseline_without_direction_is_told_where_the_scores_miss_the_change(make_tiny, kind):
    classifier = make_tiny(kind)
    batch, target = classifier.tokenize(TEXTS), torch.tensor([0, 1, 1, 0])
    remedy = "mask" if kind in ("deberta-v2", "modernbert") else "mean"  # which has no mask token
    padding = [] if kind == "modernbert" else [{}]  # whose row is zero, too, in other new models
    for options in [{"baseline": "zero"}, *padding]:
        with pytest.warns(UserWarning, match=f"has no direction.*: use baseline='{remedy}'") as told:
            score_batch(classifier, batch, "integrated_gradients", target, **options)
        assert len(told) == 1
    score_batch(classifier, batch, "integrated_gradients", target, baseline=remedy)


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2", "electra"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_baseline_of_zeros_is_fine_where_positions_are_added_to_it(make_tiny, kind, dtype):
    classifier = make_tiny(kind).to(dtype)
    batch = classifier.tokenize(TEXTS)
    score_batch(classifier, batch, "integrated_gradients", torch.tensor([0, 1, 1, 0]), baseline="zero")


def test_too_few_steps_on_a_smooth_path_are_not_taken_for_a_jump(make_tiny):
    classifier = make_tiny("distilbert")
    batch, target = classifier.tokenize(TEXTS), torch.tensor([0, 1, 1, 0])
    few, many = (
        score_batch(classifier, batch, "integrated_gradients", target, baseline="zero", n_steps=n).sum(dim=1)
        for n in (1, 100)
    )
    assert (few - many).abs().max() > 0.1


def test_a_text_without_content_is_complete_whatever_the_rounding(make_tiny):
    classifier = make_tiny()
    batch = classifier.tokenize([*TEXTS, "[SEP]"])
    score_batch(classifier, batch, "integrated_gradients", torch.tensor([0, 1, 1, 0, 0]), tolerance=0.1)


@pytest.mark.filterwarnings("ignore:Integrated Gradients are far from complete")
@pytest.mark.parametrize(("kind", "of_zeros"), [("bert", 4), ("qwen2", 6)])
def test_only_a_baseline_of_zeros_without_positions_costs_two_passes_more(make_tiny, kind, of_zeros):
    classifier, passes = make_tiny(kind), []
    batch, target = classifier.tokenize(["a fine film"]), torch.tensor([1])
    classifier.register_forward_pre_hook(lambda *call: passes.append(call))
    for baseline, expected in (("mean", 4), ("zero", of_zeros)):
        passes.clear()
        score_batch(classifier, batch, "integrated_gradients", target, baseline=baseline, n_steps=4)
        assert len(passes) == expected


def test_a_tolerance_that_no_number_of_steps_keeps_is_told(make_tiny):
    classifier = make_tiny("qwen2")
    batch, target = classifier.tokenize(TEXTS), torch.tensor([0, 1, 1, 0])
    with pytest.warns(UserWarning, match="of 4 examples are not complete with 128 pieces"):
        score_batch(classifier, batch, "integrated_gradients", target, baseline="zero", tolerance=0.01)


@pytest.mark.parametrize("method", ["integrated_gradients", "smooth_grad", "expected_gradients"])
def test_half_precision_models_are_explained(make_tiny, method):
    """Points, weights and sums stay in single precision, so that only the model's own rounding shows."""
    classifier = make_tiny()
    batch, target = classifier.tokenize(TEXTS), torch.tensor([0, 1, 1, 0])
    full = score_batch(classifier, batch, method, target)
    half = score_batch(make_tiny().bfloat16(), batch, method, target)
    assert half.dtype == torch.float32
    correlation = torch.corrcoef(torch.stack([full, half]).masked_fill(~batch.content_mask, 0.0).flatten(1))[0, 1]
    assert correlation > 0.97


# Baselines


def test_the_mean_baseline_is_the_mean_of_the_embedding_matrix(tiny):
    batch = tiny.tokenize(TEXTS)
    empty = baseline_embeddings(tiny, batch, "mean")
    matrix = tiny.model.get_input_embeddings().weight.detach()
    content = batch.content_mask
    assert_close(empty[content], matrix.mean(dim=0).expand(int(content.sum()), 16))
    assert torch.equal(empty[~content], matrix[batch.input_ids[~content]])


@pytest.mark.parametrize("baseline", ["pad", "mask", "zero", "mean"])
def test_scores_add_up_from_every_baseline(tiny, baseline):
    tiny.model.get_input_embeddings().weight.data *= 0.1  # a tame model
    batch, target = tiny.tokenize(TEXTS), torch.tensor([0, 1, 1, 0])
    scores = score_batch(tiny, batch, "integrated_gradients", target, n_steps=100, baseline=baseline)
    with torch.no_grad():
        ends = tiny.embed(batch.input_ids), baseline_embeddings(tiny, batch, baseline)
        full, empty = (tiny(end, batch.attention_mask).logits.gather(1, target[:, None])[:, 0] for end in ends)
    assert_close(scores.sum(dim=1), full - empty, rtol=1e-3, atol=1e-3)


# Expected Gradients


def test_expected_gradients_are_captums_gradient_shap_without_noise(make_tiny, monkeypatch):
    """Captum draws baselines and points inside; here both are given the same draws."""
    classifier = make_tiny()
    batch, target = classifier.tokenize(["a fine film"]), torch.tensor([1])
    embeddings, samples = classifier.embed(batch.input_ids).detach(), 5
    chosen, points = torch.tensor([2, 0, 1, 1, 2]), torch.rand(1, samples)
    baselines = torch.randn(3, 5, 16)
    monkeypatch.setattr(np.random, "choice", lambda count, size: chosen.numpy()[:size])
    monkeypatch.setattr(np.random, "uniform", lambda low, high, size: points[0].numpy()[:size])
    shap = captum.attr.GradientShap(classifier.forward_func()).attribute(
        embeddings, baselines, n_samples=samples, stdevs=0.0, target=target,
        additional_forward_args=(batch.attention_mask,),
    )  # fmt: skip
    ours = expected_gradients(
        classifier.forward_func(), embeddings, lambda _, numbers: baselines[chosen[numbers]], batch.attention_mask,
        target, points,
    )  # fmt: skip
    assert_close(ours, shap.sum(dim=-1), rtol=1e-4, atol=1e-5)


def test_one_reference_gives_integrated_gradients_from_it(make_tiny):
    classifier = make_tiny()
    classifier.model.get_input_embeddings().weight.data *= 0.1
    batch, target = classifier.tokenize(["a fine film", "never"]), torch.tensor([1, 0])
    scores = score_batch(
        classifier, batch, "expected_gradients", target, references=["bad plot of a film"], n_samples=100
    )
    other = classifier.tokenize(["bad plot of", "bad"])  # cut to the length of the input
    expected = integrated_gradients(
        classifier.forward_func(), classifier.embed(batch.input_ids), classifier.embed(other.input_ids).detach(),
        batch.attention_mask, target, n_steps=60,
    )  # fmt: skip
    assert_close(scores, expected.masked_fill(~batch.content_mask, 0.0), rtol=1e-2, atol=1e-3)


def test_short_references_are_repeated(make_tiny):
    classifier = make_tiny()
    target = torch.tensor([1])
    batch = classifier.tokenize(["a fine film of the plot"])
    short, long = (
        score_batch(classifier, batch, "expected_gradients", target, references=[text], n_samples=3)
        for text in ("bad acting", "bad acting bad acting bad acting never")
    )
    assert_close(short, long)


def test_expected_gradients_add_up_to_the_mean_change(make_tiny):
    classifier = make_tiny()
    classifier.model.get_input_embeddings().weight.data *= 0.1
    batch, target = classifier.tokenize(["a fine film"]), torch.tensor([1])
    references = ["bad plot never", "great acting once"]
    scores = score_batch(classifier, batch, "expected_gradients", target, references=references, n_samples=300)
    with torch.no_grad():
        full, *empty = (
            classifier(classifier.embed(b.input_ids), b.attention_mask).logits[0, 1]
            for b in map(classifier.tokenize, ([text] for text in ("a fine film", *references)))
        )
    assert float(scores.sum()) == pytest.approx(float(full - sum(empty) / 2), abs=0.1)


def test_without_references_baselines_are_words_of_the_vocabulary(make_tiny, monkeypatch):
    classifier = make_tiny()
    batch = classifier.tokenize(["a fine film", "never"])
    seen = []
    embed = classifier.embed
    monkeypatch.setattr(classifier, "embed", lambda ids: (seen.append(ids), embed(ids))[1])
    score_batch(classifier, batch, "expected_gradients", torch.tensor([1, 0]), n_samples=200)
    drawn = torch.cat([ids.flatten(0, -2)[:, 1] for ids in seen if len(ids) == 2])
    special = torch.tensor(classifier.tokenizer.all_special_ids)
    assert not torch.isin(drawn, special).any()
    assert len(drawn.unique()) == len(classifier.tokenizer) - len(special), "each of them comes up"


# At the edge


def every_method(dtype):
    def smooth(forward, embeddings, attended, target):
        return smooth_grad(forward, embeddings, attended, target, seeded(len(embeddings)), n_samples=3)

    def expected(forward, embeddings, attended, target):
        points = torch.rand(len(embeddings), 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
        baselines = baselines_of(embeddings, attended)
        return expected_gradients(forward, embeddings, lambda rows, _: baselines[rows], attended, target, points)

    def integrated(**options):
        return lambda forward, embeddings, attended, target: integrated_gradients(
            forward, embeddings, baselines_of(embeddings, attended), attended, target, n_steps=3, **options
        )

    return {
        "norm": gradient_norm, "smooth": smooth, "expected": expected, "tolerance": integrated(tolerance=0.1),
        **{name: integrated(quadrature=name) for name in QUADRATURES},
    }  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(LENGTHS, st.sampled_from([torch.float32, torch.float64]), st.integers(0, 3))
def test_scores_are_finite_whatever_the_lengths(lengths, dtype, seed):
    forward, embeddings, attended, target = case(lengths, dtype=dtype, seed=seed)
    for name, method in every_method(dtype).items():
        scores = method(forward, embeddings, attended, target)
        assert scores.dtype == dtype, name
        assert scores.isfinite().all(), name
        if attended.any():
            assert (scores[attended] != 0).any(), name


@settings(max_examples=15, deadline=None)
@given(LENGTHS, st.integers(0, 3))
def test_the_order_of_the_batch_does_not_matter(lengths, seed):
    forward, embeddings, attended, target = case(lengths, seed=seed)
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed))
    for name, method in every_method(torch.float64).items():
        if name in ("smooth", "expected"):
            continue  # their draws come with the examples, which the next test below has
        baselines = baselines_of(embeddings, attended)
        if name == "norm":
            scores, moved = method(forward, embeddings, attended, target), None
            moved = method(forward, embeddings[order], attended[order], target[order])
        else:
            options = {"tolerance": 0.1} if name == "tolerance" else {"quadrature": name}
            arguments = embeddings, baselines, attended, target
            scores = integrated_gradients(forward, *arguments, n_steps=3, **options)
            moved = integrated_gradients(forward, *(argument[order] for argument in arguments), n_steps=3, **options)
        assert_close(moved, scores[order])


def test_an_input_that_is_its_own_baseline_scores_zero():
    forward, embeddings, attended, target = case()
    for options in [{"quadrature": name} for name in QUADRATURES] + [{"tolerance": 0.1}]:
        scores = integrated_gradients(forward, embeddings, embeddings.clone(), attended, target, **options)
        assert (scores == 0).all()


# Batches and random numbers


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.integers(1, 5))
def test_packed_batches_hold_every_pair_once_and_no_more_than_needed(lengths, n_samples):
    attended = torch.arange(6) < torch.tensor(lengths)[:, None]
    seen = []
    for rows, numbers, longest in packed(attended, n_samples):
        assert len(rows) <= len(lengths)
        assert longest == max(1, *(lengths[row] for row in rows))
        seen += list(zip(rows.tolist(), numbers.tolist(), strict=True))
    assert sorted(seen) == [(row, number) for row in range(len(lengths)) for number in range(n_samples)]
    for row in range(len(lengths)):
        assert [number for other, number in seen if other == row] == list(range(n_samples)), "in order"


def test_packed_batches_keep_padding_on_the_left():
    attended = torch.tensor([[False, True, True], [True, False, False]])
    assert [longest for *_, longest in packed(attended, 2)] == [1, 3]


def test_generators_differ_by_text_and_seed_and_not_by_padding(make_tiny):
    classifier = make_tiny()
    alone, padded, *others = (
        example_generators(classifier.tokenize(texts), seed)[0].initial_seed()
        for texts, seed in [(["never"], 0), (["never", "a fine film"], 0), (["never"], 1), (["once"], 0)]
    )
    assert alone == padded
    assert alone not in others


# What is wrong is said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": 0}, "n_steps must be 1 or more, got 0"),
        ({"quadrature": "simpson"}, "quadrature must be 'equal_angle', 'midpoint' or 'gauss_legendre', got 'simpson'"),
        ({"tolerance": 0.0}, "tolerance must be positive, got 0.0"),
        ({"tolerance": 0.1, "quadrature": "gauss_legendre"}, "tolerance needs points that can be used again"),
    ],
)
def test_wrong_options_of_integrated_gradients_are_refused(options, message):
    forward, embeddings, attended, target = case()
    with without_type_checks(), pytest.raises(ValueError, match=message):
        integrated_gradients(forward, embeddings, torch.zeros_like(embeddings), attended, target, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n_samples": 0}, "n_samples must be 1 or more, got 0"), ({"noise": -0.1}, "noise must be 0 or more, got -0.1")],
)
def test_wrong_options_of_smooth_grad_are_refused(options, message):
    forward, embeddings, attended, target = case()
    with pytest.raises(ValueError, match=message):
        smooth_grad(forward, embeddings, attended, target, seeded(3), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "n_samples must be 1 or more, got 0"),
        ({"references": []}, "references must be one text or more, none of them empty"),
        ({"references": ["fine", " "]}, "references must be one text or more, none of them empty"),
        ({"references": "dull"}, "references must be a list of texts, got a single one: put it into brackets"),
    ],
)
def test_wrong_options_of_expected_gradients_are_refused(make_tiny, options, message):
    classifier = make_tiny()
    with pytest.raises(UserError, match=message):
        score_batch(classifier, classifier.tokenize(TEXTS), "expected_gradients", torch.zeros(4).long(), **options)
