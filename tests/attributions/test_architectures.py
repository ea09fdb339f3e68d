"""Every attribution method on every kind of architecture."""

import contextlib
import math

import pytest
import torch

from regex_lib.attributions import METHODS, attribute
from regex_lib.errors import UserError

WORDS = ["never", "a", "fine", "film", "of", "the", "very", "great", "plot", "and", "bad", "acting"]
TEXTS = [" ".join(WORDS[:length]) for length in range(1, 13)]
KINDS = ["electra", "modernbert", "deberta-v2", "gpt2", "llama", "qwen2", "qwen3"]
ROW = {"attention", "scaled_attention"}
SHARED = {"acl2022_input_x_gradient", "acl2022_integrated_gradients"}  # depend on the batch, as the study's code does
DIRECTIONS_ONLY = {"modernbert", "deberta-v2"}  # normalise an embedding before anything else sees it
FROM_ZERO = {"deberta-v2", "llama", "qwen2", "qwen3"}  # normalise, and the padding row of a tiny model is zero


def warned(kind, method):
    """The warning that is due, once or more."""
    if method == "input_x_gradient" and kind in DIRECTIONS_ONLY:
        return pytest.warns(UserWarning, match="hardly depends on the length of an embedding")
    if method == "integrated_gradients" and kind in FROM_ZERO:
        return pytest.warns(UserWarning, match="the baseline is the zero vector, which has no direction")
    return contextlib.nullcontext()


def check(explanations, num_labels):
    for text, explanation in zip(TEXTS, explanations, strict=True):
        assert explanation.tokens == text.split()
        assert len(explanation.scores) == len(explanation.tokens)
        assert all(math.isfinite(score) for score in explanation.scores)
        assert explanation.target == explanation.prediction < num_labels
        assert not explanation.truncated


@pytest.mark.parametrize("method", sorted(set(METHODS) - SHARED))
@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_texts_of_every_length_do_not_depend_on_their_batch(make_tiny, kind, method):
    classifier = make_tiny(kind, num_labels=3).double()
    with warned(kind, method):
        together = attribute(classifier, TEXTS, method, batch_size=12)
        every = [attribute(classifier, TEXTS[number : number + 1], method)[0] for number in (0, 6)]
    check(together, 3)
    assert any(score != 0 for score in together[-1].scores), "all scores are 0"
    for number, alone in zip((0, 6), every, strict=True):
        assert alone.scores == pytest.approx(together[number].scores, rel=1e-4, abs=1e-6)
        assert alone.probability == pytest.approx(together[number].probability, abs=1e-6)


@pytest.mark.parametrize("method", sorted(set(METHODS) - ROW))
def test_a_model_that_averages_has_every_attribution_but_those_of_its_pooling_token(make_tiny, method):
    with warned("modernbert", method):
        check(attribute(make_tiny("modernbert", classifier_pooling="mean"), TEXTS, method), 2)


@pytest.mark.parametrize("method", sorted(ROW))
def test_a_model_that_averages_is_told_why_it_has_no_attention_scores(make_tiny, method):
    with pytest.raises(UserError, match="averages over all tokens"):
        attribute(make_tiny("modernbert", classifier_pooling="mean"), TEXTS, method)


@pytest.mark.parametrize("kind", ["deberta-v2", "gpt2", "modernbert"])
def test_scaled_attention_is_the_eager_models(make_tiny, eager_copy, unrounded_softmax, kind):
    classifier = make_tiny(kind).double()
    plain = eager_copy(classifier)
    for explanation in attribute(classifier, TEXTS, "scaled_attention", target=1):
        batch = classifier.tokenize([explanation.text])
        output = plain(input_ids=batch.input_ids, output_attentions=True)
        (gradient,) = torch.autograd.grad(output.logits[0, 1], output.attentions[-1])
        scores = (output.attentions[-1] * gradient).mean(dim=1)[0, -1 if kind == "gpt2" else 0]
        assert explanation.scores == pytest.approx(scores[batch.content_mask[0]].tolist(), abs=1e-6)
