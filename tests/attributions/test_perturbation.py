"""Attributions that leave tokens out: against plain loops, captum, exact Shapley values; and what holds for all."""

import math

import captum.attr
import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnRidge
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import attributions as reference
from torch.testing import assert_close

from regex_lib.attributions import METHODS, attribute, class_probabilities, leave_one_out, score_batch
from regex_lib.attributions.perturbation import target_probabilities
from regex_lib.errors import UserError

TEXTS = ["a fine film", "dull and very bad acting but a great plot", "never", "not great not bad"]
TARGET = torch.tensor([0, 1, 1, 0])
COMPATIBILITY = {"acl2022_input_x_gradient", "acl2022_integrated_gradients"}  # these depend on the batch
FAST = {
    **{name: {"n_samples": 20} for name in ("lime", "kernel_shap")},
    **{name: {"n_samples": 3} for name in ("smooth_grad", "expected_gradients")},
    "integrated_gradients": {"n_steps": 3},
}
every_method = pytest.mark.parametrize("method", sorted(set(METHODS) - COMPATIBILITY))


def probability_of(classifier, target):
    """One input after another, from the plain model. Told the ids, RoBERTa would skip the positions of padding."""

    def probability(ids):
        with torch.no_grad():
            embeddings = classifier.model.get_input_embeddings()(torch.tensor([ids]))
            logits = classifier.model(inputs_embeds=embeddings).logits[0].double()
        return float(logits.softmax(dim=-1)[target])

    return probability


def scores_of(classifier, texts, method, target=None, **options):
    batch = classifier.tokenize(texts)
    target = torch.ones(len(texts), dtype=torch.long) if target is None else target
    return batch, score_batch(classifier, batch, method, target, **options)


# What holds for every method


@every_method
def test_scores_do_not_depend_on_batch_mates_order_and_padding(tiny, method):
    options = FAST.get(method, {})
    batch, together = scores_of(tiny, TEXTS, method, **options)
    _, longer = scores_of(tiny, ["the " * 20, *TEXTS[::-1]], method, **options)
    assert_close(longer[1:, : together.shape[1]].flip(0), together, rtol=0, atol=1e-5)
    for row, text in enumerate(TEXTS):
        _, alone = scores_of(tiny, [text], method, **options)
        assert_close(together[row, : alone.shape[1]], alone[0], rtol=0, atol=1e-5)
    assert (together[~batch.content_mask] == 0).all()


@every_method
def test_texts_with_one_token_or_none_are_explained(make_tiny, method):
    batch, scores = scores_of(make_tiny(), ["[SEP]", "never", "[CLS] [SEP]"], method, **FAST.get(method, {}))
    assert scores.isfinite().all()
    assert (scores[~batch.content_mask] == 0).all()
    assert scores[1].abs().max() > 0
    _, nothing = scores_of(make_tiny(), ["[SEP]"], method, **FAST.get(method, {}))
    assert (nothing == 0).all()


@every_method
def test_the_global_random_state_is_left_alone(make_tiny, monkeypatch, method):
    classifier = make_tiny()
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("a GPU has been seeded"))
    before = torch.get_rng_state()
    scores_of(classifier, TEXTS, method, **FAST.get(method, {}))
    assert torch.equal(torch.get_rng_state(), before)


@every_method
def test_scores_are_the_same_at_the_second_call(make_tiny, method):
    classifier = make_tiny()
    first, second = (scores_of(classifier, TEXTS, method, **FAST.get(method, {}))[1] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("method", ["leave_one_out", "lime", "kernel_shap", "smooth_grad", "expected_gradients"])
def test_opposite_classes_have_opposite_scores(tiny, method):
    head = tiny.model.classifier.out_proj if hasattr(tiny.model.classifier, "out_proj") else tiny.model.classifier
    with torch.no_grad():
        head.weight[1] = -head.weight[0]
    for_zero, for_one = (
        scores_of(tiny, TEXTS, method, torch.full((4,), target), **FAST.get(method, {}))[1] for target in (0, 1)
    )
    assert for_zero.abs().max() > 1e-3
    assert_close(for_zero, -for_one, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["lime", "kernel_shap", "smooth_grad", "expected_gradients"])
def test_another_seed_draws_other_samples(make_tiny, method):
    first, second = (scores_of(make_tiny(), TEXTS, method, seed=seed, **FAST.get(method, {}))[1] for seed in (0, 1))
    assert (first[1] != second[1]).any()


# Leave-one-out


@pytest.mark.parametrize("replacement", ["mask", "pad", "delete"])
def test_leave_one_out_is_a_plain_loops(tiny, replacement):
    batch, scores = scores_of(tiny, TEXTS, "leave_one_out", TARGET, replacement=replacement, batch_size=5)
    token = {"mask": tiny.mask_id, "pad": tiny.pad_id, "delete": None}[replacement]
    assert scores.abs().max() > 1e-2
    for row, target in enumerate(TARGET.tolist()):
        length = int(batch.attention_mask[row].sum())
        expected = reference.leave_one_out(
            probability_of(tiny, target),
            batch.input_ids[row, :length].tolist(),
            batch.content_mask[row, :length].tolist(),
            token,
        )
        assert scores[row, :length].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("replacement", ["mask", "pad"])
def test_leave_one_out_is_captums_feature_ablation(tiny, replacement):
    batch, scores = scores_of(tiny, TEXTS, "leave_one_out", TARGET, replacement=replacement)
    predict, token = class_probabilities(tiny), {"mask": tiny.mask_id, "pad": tiny.pad_id}[replacement]
    expected = captum.attr.FeatureAblation(predict).attribute(
        batch.input_ids, baselines=token, target=TARGET, additional_forward_args=(batch.attention_mask,)
    )
    assert_close(scores, expected.masked_fill(~batch.content_mask, 0.0).to(scores), rtol=0, atol=1e-6)


@pytest.mark.parametrize("replacement", [9, None])
def test_every_distinct_input_is_predicted_once(replacement):
    ids = torch.tensor([[1, 7, 7, 5, 2], [1, 9, 6, 2, 0], [1, 7, 7, 5, 2]])
    attended = ids > 0
    content = attended & (ids > 2)
    seen = []

    def predict(some, mask):
        assert mask.any(dim=0).all(), "cut to the longest"
        assert (some[~mask] == 0).all()
        seen.extend(tuple(row[counts].tolist()) for row, counts in zip(some, mask, strict=True))
        hashed = ((some * torch.arange(1, 1 + some.shape[1])) * mask).sum(dim=1) % 13 / 13
        return torch.stack([hashed, 1 - hashed], dim=-1)

    options = {"replacement": replacement, "pad_id": 0, "batch_size": 2}
    drops = leave_one_out(predict, ids, attended, content, torch.tensor([0, 1, 1]), **options)
    assert len(set(seen)) == len(seen)
    assert len(seen) == 6
    assert_close(drops[0], -drops[2])

    seen.clear()
    full = torch.stack([predict(row[None, mask], mask[None, mask])[0] for row, mask in zip(ids, attended, strict=True)])
    unchanged = full.gather(1, torch.tensor([[0], [1], [1]])).squeeze(1)
    seen.clear()
    again = leave_one_out(predict, ids, attended, content, torch.tensor([0, 1, 1]), unchanged=unchanged, **options)
    assert_close(again, drops)
    assert (1, 7, 7, 5, 2) not in seen, "what is known is not asked for"


def test_where_a_text_loses_its_only_token_one_padding_token_is_left(make_tiny):
    decoder, target = make_tiny("gpt2"), torch.ones(2, dtype=torch.long)
    never, nothing = (
        float(class_probabilities(decoder)(torch.tensor([[token]]), torch.tensor([[True]]))[0, 1])
        for token in (decoder.tokenizer.convert_tokens_to_ids("never"), decoder.pad_id)
    )
    for texts in (["never"], ["never", "a fine film"]):
        _, scores = scores_of(decoder, texts, "leave_one_out", target[: len(texts)], replacement="delete")
        assert scores[0, 0].item() == pytest.approx(never - nothing, abs=1e-6)


def test_leave_one_out_without_content_asks_nothing():
    def predict(ids, attention_mask):
        raise AssertionError("there is nothing to predict")

    ids, nothing = torch.ones(2, 3, dtype=torch.long), torch.zeros(2, 3, dtype=torch.bool)
    for replacement in (5, None):
        drops = leave_one_out(
            predict, ids, ~nothing, nothing, torch.tensor([0, 0]),
            replacement=replacement, pad_id=0, unchanged=torch.zeros(2, dtype=torch.float64),
        )  # fmt: skip
        assert (drops == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(1, 4))
def test_probabilities_come_back_in_the_order_of_the_inputs(lengths, batch_size):
    attended = torch.arange(5) < torch.tensor(lengths)[:, None]
    ids = torch.randint(3, (len(lengths), 5), generator=torch.Generator().manual_seed(sum(lengths)))

    def predict(some, mask):
        value = ((some + 1) * mask).sum(dim=1).double() / 100
        return torch.stack([value, 1 - value], dim=-1)

    target = torch.arange(len(lengths)) % 2
    found = target_probabilities(predict, ids, attended, target, 0, batch_size)
    assert_close(found, predict(ids, attended).gather(1, target[:, None]).squeeze(1))


# LIME and Kernel SHAP


def captums(classifier, text, target, seed, explainer, n_samples):
    """Captum called as its tutorials do: one text, one sample at a time, plain model."""
    batch = classifier.tokenize([text])
    ids, content = batch.input_ids, batch.content_mask[0]
    masked = ids.masked_fill(content, classifier.mask_id)
    count = int(content.sum())
    features = torch.zeros_like(ids)
    features[0, content] = torch.arange(count)
    torch.manual_seed(seed)
    return explainer(lambda some: classifier.model(input_ids=some).logits.softmax(dim=-1)).attribute(
        ids, baselines=masked, target=target, feature_mask=features, n_samples=n_samples, return_input_shape=False
    )[0], count  # fmt: skip


def text_seed(classifier, text, seed=0):
    from regex_lib.attributions.sampling import example_generators

    return example_generators(classifier.tokenize([text]), seed)[0].initial_seed()


def exponential(original, perturbed, kept, **options):
    """LIME's kernel for texts: exp(-d^2 / width^2) under a root, at 100 times the cosine distance and a width of 25."""
    ones = torch.ones_like(kept).double()
    cosine = torch.nn.functional.cosine_similarity(kept.double(), ones).item() if kept.any() else 0.0
    return math.sqrt(math.exp(-((100 * (1 - cosine)) ** 2) / 25**2))


@pytest.mark.parametrize("row", [1, 3])
def test_kernel_shap_is_captums(make_tiny, row):
    classifier = make_tiny()
    batch, scores = scores_of(classifier, TEXTS, "kernel_shap", TARGET, n_samples=60, batch_size=7)
    seed = text_seed(classifier, TEXTS[row])
    expected, _ = captums(classifier, TEXTS[row], int(TARGET[row]), seed, captum.attr.KernelShap, 60)
    assert_close(scores[row][batch.content_mask[row]], expected.flatten(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("row", [1, 3])
def test_lime_is_captums(make_tiny, row):
    classifier = make_tiny()
    batch, scores = scores_of(classifier, TEXTS, "lime", TARGET, n_samples=60, batch_size=7)

    def explainer(forward):
        return captum.attr.Lime(forward, SkLearnRidge(alpha=1.0), exponential)

    seed = text_seed(classifier, TEXTS[row])
    expected, _ = captums(classifier, TEXTS[row], int(TARGET[row]), seed, explainer, 60)
    assert_close(scores[row][batch.content_mask[row]], expected.flatten(), rtol=1e-3, atol=1e-4)


class Game(torch.nn.Module):
    """A classifier whose probability is a function of which tokens are kept."""

    def __init__(self, classifier, value):
        super().__init__()
        self.classifier, self.value = classifier, value

    def __getattr__(self, name):
        return super().__getattr__(name) if name in ("classifier", "value") else getattr(self.classifier, name)

    def embed(self, input_ids):
        return (input_ids != self.classifier.mask_id)[..., None].float()

    def forward(self, embeddings, attention_mask):
        kept = [frozenset(np.flatnonzero(row[1:-1, 0].numpy()).tolist()) for row in embeddings]
        probability = torch.tensor([self.value(players) for players in kept], dtype=torch.float64)
        return type("Output", (), {"logits": torch.stack([1 - probability, probability], dim=-1).log()})


ADDITIVE = {0: 0.1, 1: 0.3, 2: -0.05, 3: 0.2}


def additive(players):
    return 0.2 + sum(ADDITIVE[player] for player in players)


def multiplicative(players):
    """Tokens that need each other, and one that hurts."""
    return 0.1 + 0.6 * ({0, 1} <= players) + 0.2 * ({2} <= players) - 0.05 * ({1, 3} <= players)


def explained_game(make_tiny, monkeypatch, value, method, **options):
    """Scores of a game on four tokens, past the type check of what a classifier is."""
    classifier = make_tiny()
    batch = classifier.tokenize(["dull and very bad"])
    game = Game(classifier, value)
    from regex_lib.attributions import surrogate

    predict = class_probabilities.__wrapped__(game)
    monkeypatch.setattr(surrogate, "class_probabilities", lambda _: predict)
    return score_batch(classifier, batch, method, torch.tensor([1]), **options)[0, 1:5].tolist()


@pytest.mark.parametrize(("value", "tolerance"), [(additive, 1e-4), (multiplicative, 0.03)])
def test_kernel_shap_gives_the_games_shapley_values(make_tiny, monkeypatch, value, tolerance):
    scores = explained_game(make_tiny, monkeypatch, value, "kernel_shap", n_samples=1500)
    exact = reference.shapley_values(value, 4)
    assert scores == pytest.approx(exact, abs=tolerance)
    assert sum(scores) == pytest.approx(value(frozenset(range(4))) - value(frozenset()), abs=1e-4)
    assert value is additive or max(np.abs(np.array(exact) - 0.1)) > 0.1


def test_lime_is_a_weighted_ridge_regression(make_tiny, monkeypatch):
    kept = []

    def value(players):
        kept.append(players)
        return multiplicative(players)

    scores = explained_game(make_tiny, monkeypatch, value, "lime", n_samples=300)
    torch.manual_seed(text_seed(make_tiny(), "dull and very bad"))
    samples = torch.cat([torch.bernoulli(torch.full((1, 4), 0.5)) for _ in range(300)]).numpy().astype(float)
    outputs = np.array([multiplicative(frozenset(np.flatnonzero(sample).tolist())) for sample in samples])
    weights = np.array([math.exp(-((1 - math.sqrt(sample.mean())) ** 2) / (2 * 0.25**2)) for sample in samples])
    assert scores == pytest.approx(reference.weighted_ridge(samples, outputs, weights, 1.0).tolist(), abs=1e-4)
    assert len(kept) == len(set(kept)) == 16, "every distinct input once"


def test_lime_finds_the_weights_of_an_additive_game(make_tiny, monkeypatch):
    scores = explained_game(make_tiny, monkeypatch, additive, "lime", n_samples=1000)
    assert scores == pytest.approx(list(ADDITIVE.values()), abs=0.02)


@pytest.mark.parametrize("method", ["lime", "kernel_shap"])
def test_the_only_token_of_a_text_makes_all_the_difference(tiny, method):
    batch, scores = scores_of(tiny, ["never"], method)
    probability = probability_of(tiny, 1)
    full = batch.input_ids[0].tolist()
    assert float(scores.sum()) == pytest.approx(
        probability(full) - probability([full[0], tiny.mask_id, full[2]]), abs=1e-6
    )


@pytest.mark.parametrize("method", ["lime", "kernel_shap"])
def test_removed_tokens_can_become_padding(make_tiny, method):
    classifier = make_tiny()
    masked, padded = (
        scores_of(classifier, TEXTS, method, replacement=replacement, n_samples=50)[1]
        for replacement in ("mask", "pad")
    )
    assert not torch.allclose(masked, padded, atol=1e-3)


# What is wrong is said


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("leave_one_out", {"replacement": "drop"}, "replacement must be 'mask', 'pad' or 'delete', got 'drop'"),
        ("lime", {"replacement": "delete"}, "replacement must be 'mask' or 'pad', got 'delete'"),
        ("kernel_shap", {"replacement": "delete"}, "replacement must be 'mask' or 'pad', got 'delete'"),
        ("lime", {"n_samples": 1}, "n_samples must be 2 or more, got 1"),
        ("kernel_shap", {"n_samples": 0}, "n_samples must be 2 or more, got 0"),
    ],
)
def test_wrong_options_are_refused(make_tiny, method, options, message):
    from reference.unchecked import without_type_checks

    with without_type_checks(), pytest.raises(UserError, match=message):
        attribute(make_tiny(), TEXTS, method, **options)
