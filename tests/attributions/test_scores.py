"""What holds for every attribution method, and for the ones that are read from attention or from a die."""

import pytest
import scipy.stats
import torch
from torch.testing import assert_close

from regex_lib.attributions import METHODS, attribute, score_batch

NAMES = ["random", "attention", "scaled_attention", "input_x_gradient", "integrated_gradients"]
TEXTS = ["a fine film", "dull and very bad acting but a great plot", "never", "not great not bad"]


def scores_of(classifier, texts, method, target=1, **options):
    batch = classifier.tokenize(texts)
    return batch, score_batch(classifier, batch, method, torch.full((len(texts),), target), **options)


def test_these_are_all_the_methods():
    assert set(NAMES) <= set(METHODS)


@pytest.mark.parametrize("method", NAMES)
def test_scores_are_zero_outside_the_content(tiny, method):
    batch, scores = scores_of(tiny, [*TEXTS, "[SEP]"], method)
    assert (scores[~batch.content_mask] == 0).all()
    assert (scores[:4][batch.content_mask[:4]] != 0).all()


@pytest.mark.parametrize("method", NAMES)
def test_scores_do_not_depend_on_batch_mates_and_padding(tiny, method):
    _, together = scores_of(tiny, TEXTS, method)
    for row, text in enumerate(TEXTS):
        _, alone = scores_of(tiny, [text], method)
        assert_close(together[row, : alone.shape[1]], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", NAMES)
def test_explanations_do_not_depend_on_the_batch_size(minilm, method):
    texts = [f"{'very ' * (7 * n % 5)}good film number {n}, isn't it?" for n in range(7)]
    one, *others = (attribute(minilm, texts, method, batch_size=size) for size in (1, 3, 64))
    for other in others:
        for first, second in zip(one, other, strict=True):
            assert first.offsets == second.offsets
            assert second.scores == pytest.approx(first.scores, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("method", [name for name in NAMES if name not in ("random", "attention")])
def test_signed_methods_explain_the_class_asked_for(tiny, method):
    """The two logits of a head with opposite weights have opposite explanations."""
    head = tiny.model.classifier.out_proj if hasattr(tiny.model.classifier, "out_proj") else tiny.model.classifier
    with torch.no_grad():
        head.weight[1] = -head.weight[0]
    _, for_zero = scores_of(tiny, TEXTS, method, target=0)
    _, for_one = scores_of(tiny, TEXTS, method, target=1)
    assert_close(for_zero, -for_one, rtol=1e-4, atol=1e-6)


def test_attention_is_that_of_the_plain_model(tiny, eager_copy):
    batch, scores = scores_of(tiny, TEXTS, "attention")
    plain = eager_copy(tiny)(batch.input_ids, batch.attention_mask.long(), output_attentions=True)
    expected = plain.attentions[-1][:, :, 0].mean(dim=1).masked_fill(~batch.content_mask, 0.0)
    assert_close(scores, expected, rtol=0, atol=1e-6)


def test_scaled_attention_is_attention_times_autograds_gradient(tiny, eager_copy):
    batch, scores = scores_of(tiny, TEXTS, "scaled_attention")
    plain = eager_copy(tiny)(batch.input_ids, batch.attention_mask.long(), output_attentions=True)
    weights = plain.attentions[-1]
    weights.retain_grad()
    plain.logits[:, 1].sum().backward()
    expected = (weights * weights.grad)[:, :, 0].mean(dim=1).masked_fill(~batch.content_mask, 0.0)
    assert expected.abs().max() > 1e-4
    assert_close(scores, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("kind", "implementation"),
    [("bert", "eager"), ("bert", "sdpa"), ("gpt2", "eager"), ("gpt2", "sdpa"), ("deberta-v2", "eager")],
)
def test_scaled_attention_of_half_precision_weights_is_near_that_of_the_same_weights(
    make_tiny, kind, implementation, dtype
):
    rounded = make_tiny(kind, attn_implementation=implementation).to(dtype)
    _, scores = scores_of(rounded, TEXTS, "scaled_attention")
    _, expected = scores_of(make_tiny(kind).to(dtype).float(), TEXTS, "scaled_attention")
    assert scores.dtype == torch.float32
    assert torch.corrcoef(torch.stack([scores, expected]).flatten(1))[0, 1] > 0.97


def test_random_scores_are_the_same_for_a_text_wherever_it_stands(make_tiny):
    _, alone = scores_of(make_tiny(), ["a fine film"], "random")
    _, elsewhere = scores_of(make_tiny(seed=5), ["dull and very bad acting", "a fine film"], "random")
    assert torch.equal(elsewhere[1, :5], alone[0])


def test_random_scores_differ_by_seed_and_by_text(make_tiny):
    _, scores = scores_of(make_tiny(), ["a fine film", "a great film"], "random", seed=0)
    _, reseeded = scores_of(make_tiny(), ["a fine film", "a great film"], "random", seed=1)
    drawn = torch.cat([scores, reseeded])[:, 1:4].flatten().tolist()
    assert len(set(drawn)) == 12


def test_random_scores_leave_the_global_random_state_alone(make_tiny):
    classifier = make_tiny()
    before = torch.get_rng_state()
    scores_of(classifier, TEXTS, "random")
    assert torch.equal(torch.get_rng_state(), before)


def test_random_scores_are_uniform(make_tiny):
    classifier = make_tiny()
    words = [word for word in sorted(classifier.tokenizer.get_vocab()) if word.isalpha()]
    texts = [f"{one} {two} {three}" for one in words for two in words for three in words[:4]]
    _, scores = scores_of(classifier, texts, "random")
    drawn = scores[:, 1:4]
    assert scipy.stats.kstest(drawn.flatten(), "uniform").pvalue > 0.01
    assert scipy.stats.chisquare(torch.bincount(drawn.argmax(dim=1))).pvalue > 0.01, "every place wins as often"
