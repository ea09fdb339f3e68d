"""Gradient attributions against captum, which is an independent implementation of the same formulas."""

import captum.attr
import pytest
import torch
from torch.testing import assert_close

from regex_lib.attributions import (
    METHODS,
    baseline_embeddings,
    input_x_gradient,
    integrated_gradients,
    score_batch,
)
from regex_lib.models import TokenBatch

REVIEWS = [
    "A touching, unhurried film that earns every one of its tears.",
    "Dull.",
    "The plot makes no sense, and neither does the decision to release it in theatres.",
]
WORDS = ["a fine film", "dull and very bad acting but a great plot", "never"]
CAPTUM_QUADRATURE = {"gauss_legendre": "gausslegendre", "midpoint": "riemann_middle"}


@pytest.fixture(params=["bert", "roberta", "distilbert", "minilm"])
def explained(request, make_tiny):
    """A classifier, a padded batch and the classes to explain."""
    if request.param == "minilm":
        classifier, texts = request.getfixturevalue("minilm"), REVIEWS
    else:
        classifier, texts = make_tiny(request.param), WORDS
    batch = classifier.tokenize(texts)
    assert not batch.attention_mask.all()
    return classifier, batch, torch.tensor([0, 1, 1])


def captum_sums(attributions: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    return attributions.sum(dim=-1).detach().masked_fill(~batch.content_mask, 0.0)


@pytest.mark.parametrize("baseline", ["pad", "mask", "zero"])
@pytest.mark.parametrize("quadrature", ["gauss_legendre", "midpoint"])
def test_integrated_gradients_are_captums(explained, quadrature, baseline):
    classifier, batch, target = explained
    scores = score_batch(
        classifier, batch, "integrated_gradients", target, n_steps=7, quadrature=quadrature, baseline=baseline
    )
    expected = captum.attr.IntegratedGradients(classifier.forward_func()).attribute(
        classifier.embed(batch.input_ids).detach(),
        baseline_embeddings(classifier, batch, baseline),
        target=target,
        additional_forward_args=(batch.attention_mask,),
        n_steps=7,
        method=CAPTUM_QUADRATURE[quadrature],
    )
    assert_close(scores, captum_sums(expected, batch), rtol=1e-4, atol=1e-5)


def test_input_x_gradient_is_captums(explained):
    classifier, batch, target = explained
    scores = score_batch(classifier, batch, "input_x_gradient", target)
    expected = captum.attr.InputXGradient(classifier.forward_func()).attribute(
        classifier.embed(batch.input_ids).detach().requires_grad_(),
        target=target,
        additional_forward_args=(batch.attention_mask,),
    )
    assert_close(scores, captum_sums(expected, batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("baseline", ["pad", "mask", "zero"])
def test_integrated_gradients_add_up_to_the_change_of_the_logit(explained, baseline):
    classifier, batch, target = explained
    if classifier.max_length == 32:
        # A tame model: from large random embeddings, the LayerNorm makes the path too bent for 50 steps.
        classifier.model.get_input_embeddings().weight.data *= 0.1
    scores = score_batch(classifier, batch, "integrated_gradients", target, n_steps=50, baseline=baseline)
    with torch.no_grad():
        logits, empty = (
            classifier(embeddings, batch.attention_mask).logits.gather(1, target[:, None]).squeeze(1)
            for embeddings in (classifier.embed(batch.input_ids), baseline_embeddings(classifier, batch, baseline))
        )
    assert_close(scores.sum(dim=1), logits - empty, rtol=1e-3, atol=1e-3)


def linear(embeddings, attention_mask):
    weights = torch.arange(1.0, 1 + embeddings[0].numel()).reshape(embeddings.shape[1:])
    return torch.stack([(embeddings * weights).sum((1, 2)), embeddings.sum((1, 2))], dim=-1)


def quadratic(embeddings, attention_mask):
    return torch.stack([embeddings.square().sum((1, 2)), -3 * embeddings.square().sum((1, 2))], dim=-1)


@pytest.fixture
def point():
    return torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), torch.tensor([0, 1])


@pytest.mark.parametrize("quadrature", ["gauss_legendre", "midpoint"])
@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_integrated_gradients_are_exact_on_a_linear_function(point, quadrature, n_steps):
    x, baseline, attended, target = point
    weights = torch.arange(1.0, 13.0).reshape(3, 4)
    expected = torch.stack([((x - baseline)[0] * weights).sum(-1), (x - baseline)[1].sum(-1)])
    options = {"n_steps": n_steps, "quadrature": quadrature}
    assert_close(integrated_gradients(linear, x, baseline, attended, target, **options), expected)


@pytest.mark.parametrize("quadrature", ["gauss_legendre", "midpoint"])
@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_integrated_gradients_are_exact_on_a_quadratic_function(point, quadrature, n_steps):
    x, baseline, attended, target = point
    expected = (x.square() - baseline.square()).sum(-1) * torch.tensor([[1.0], [-3.0]])
    options = {"n_steps": n_steps, "quadrature": quadrature}
    assert_close(integrated_gradients(quadratic, x, baseline, attended, target, **options), expected)


def test_two_gauss_legendre_steps_are_exact_on_a_quartic_where_midpoints_are_not(point):
    x, _, attended, target = point

    def quartic(embeddings, attention_mask):
        return quadratic(embeddings.square(), attention_mask)

    expected = x.pow(4).sum(-1) * torch.tensor([[1.0], [-3.0]])
    arguments = quartic, x, torch.zeros_like(x), attended, target
    assert_close(integrated_gradients(*arguments, n_steps=2, quadrature="gauss_legendre"), expected)
    assert not torch.allclose(integrated_gradients(*arguments, n_steps=2, quadrature="midpoint"), expected)


def test_input_x_gradient_is_exact_on_a_linear_function(point):
    x, _, attended, target = point
    weights = torch.arange(1.0, 13.0).reshape(3, 4)
    assert_close(input_x_gradient(linear, x, attended, target), torch.stack([(x[0] * weights).sum(-1), x[1].sum(-1)]))


@pytest.mark.parametrize("kind", ["deberta-v2", "modernbert"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_sees_only_directions_has_no_input_x_gradient_and_says_so(make_tiny, kind, dtype):
    classifier = make_tiny(kind).to(dtype)
    batch, target = classifier.tokenize(WORDS), torch.tensor([0, 1, 1])
    with pytest.warns(UserWarning, match="use gradient_norm or integrated_gradients") as told:
        scores = score_batch(classifier, batch, "input_x_gradient", target)
    assert len(told) == 1
    lengths = classifier.embed(batch.input_ids).norm(dim=-1) * score_batch(classifier, batch, "gradient_norm", target)
    assert scores.abs().sum() < 1e-3 * lengths.sum()


def test_an_input_x_gradient_made_by_the_norms_epsilon_is_told_too(make_tiny):
    """At the width and the initial size of the real model's embeddings, single tokens are above a thousandth."""
    classifier = make_tiny("modernbert", hidden_size=768, num_attention_heads=12)
    torch.nn.init.normal_(classifier.model.get_input_embeddings().weight, std=0.02)
    with pytest.warns(UserWarning, match="hardly depends on the length of an embedding"):
        score_batch(classifier, classifier.tokenize(WORDS), "input_x_gradient", torch.tensor([0, 1, 1]))


def test_a_single_token_or_a_gradient_of_zero_tells_nothing_about_the_model(make_tiny):
    alone, flat = make_tiny("deberta-v2"), make_tiny("bert")
    torch.nn.init.zeros_(flat.model.classifier.weight)
    for classifier, text in ((alone, "never"), (flat, "a fine film")):
        batch = classifier.tokenize([text])
        score_batch(classifier, batch, "input_x_gradient", torch.tensor([1]))


def test_knowing_that_costs_no_pass(make_tiny):
    classifier, passes = make_tiny("deberta-v2"), []
    classifier.register_forward_pre_hook(lambda *call: passes.append(call))
    with pytest.warns(UserWarning, match="hardly depends"):
        score_batch(classifier, classifier.tokenize(WORDS), "input_x_gradient", torch.tensor([0, 1, 1]))
    assert len(passes) == 1


def test_gradients_of_the_model_are_left_alone(make_tiny):
    classifier = make_tiny()
    batch = classifier.tokenize(WORDS)
    for name in METHODS:
        scores = score_batch(classifier, batch, name, torch.tensor([0, 1, 1]))
        assert not scores.requires_grad, name
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_frozen_weights_can_be_explained(make_tiny):
    classifier = make_tiny()
    batch, target = classifier.tokenize(WORDS), torch.tensor([0, 1, 1])
    expected = {name: score_batch(classifier, batch, name, target) for name in METHODS}
    classifier.requires_grad_(False)
    for name in METHODS:
        assert_close(score_batch(classifier, batch, name, target), expected[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("baseline", ["pad", "mask", "zero"])
def test_a_baseline_keeps_special_tokens_and_replaces_content(make_tiny, baseline):
    classifier = make_tiny("roberta")
    batch = classifier.tokenize(WORDS)
    with torch.no_grad():
        embeddings = classifier.embed(batch.input_ids)
        pad, mask = classifier.embed(torch.tensor([[classifier.pad_id, classifier.mask_id]]))[0]
    replaced = {"pad": pad, "mask": mask, "zero": torch.zeros(16)}
    empty = baseline_embeddings(classifier, batch, baseline)
    assert torch.equal(empty[~batch.content_mask], embeddings[~batch.content_mask])
    assert torch.equal(empty[batch.content_mask], replaced[baseline].expand(int(batch.content_mask.sum()), 16))


def test_a_baseline_of_another_name_is_refused(make_tiny):
    classifier = make_tiny()
    with pytest.raises(ValueError, match="baseline must be 'pad', 'mask', 'zero' or 'mean', got 'none'"):
        baseline_embeddings.__wrapped__(classifier, classifier.tokenize(WORDS), "none")


def test_a_quadrature_of_another_name_is_refused(point):
    x, baseline, attended, target = point
    with pytest.raises(ValueError, match="quadrature must be 'equal_angle', 'midpoint' or 'gauss_legendre', got 'sim"):
        integrated_gradients.__wrapped__(linear, x, baseline, attended, target, quadrature="simpson")


def test_an_integral_without_steps_is_refused(point):
    x, baseline, attended, target = point
    with pytest.raises(ValueError, match="n_steps must be 1 or more, got 0"):
        integrated_gradients(linear, x, baseline, attended, target, n_steps=0)
