"""TextRank against networkx, and SaLoss: values, derivatives, and texts at the edge."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import regularisers, rivals
from reference.unchecked import without_type_checks

from regex_lib.losses import attention_attribution_divergence, saloss, text_rank

DIRECTIONS = ["attention_to_attribution", "attribution_to_attention", "symmetric"]
every_direction = pytest.mark.parametrize("direction", DIRECTIONS)
many = settings(deadline=None, max_examples=40)


@st.composite
def texts(draw):
    """Ids of which many repeat, and any content mask, with holes too."""
    batch, tokens = draw(st.integers(1, 4)), draw(st.integers(1, 14))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    ids = torch.randint(draw(st.integers(1, 20)), (batch, tokens), generator=generator)
    return ids, torch.rand(batch, tokens, generator=generator) < draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))


def reference_ranks(ids, content, window=8, damping=0.85):
    pairs = zip(ids.tolist(), content.tolist(), strict=True)
    return torch.tensor([rivals.text_rank(row, counts, window, damping) for row, counts in pairs], dtype=torch.float64)


def example(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    attention = torch.randn(3, 6, generator=generator, dtype=torch.float64).softmax(-1)
    ids = torch.tensor([[1, 7, 8, 7, 9, 2], [1, 5, 2, 0, 0, 0], [0] * 6])
    content = torch.tensor([[0, 1, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0], [0] * 6]).bool()
    return attention.to(dtype), ids, content


# TextRank


@many
@given(texts(), st.integers(2, 10), st.sampled_from([0.0, 0.5, 0.85]))
def test_the_scores_are_those_of_networkx(text, window, damping):
    actual = text_rank(*text, window=window, damping=damping, iterations=150)
    torch.testing.assert_close(actual.double(), reference_ranks(*text, window, damping), atol=2e-6, rtol=1e-5)


@many
@given(texts(), st.integers(2, 10))
def test_by_default_the_scores_are_within_a_thousandth_of_networkx(text, window):
    torch.testing.assert_close(
        text_rank(*text, window=window).double(), reference_ranks(*text, window), rtol=1e-3, atol=0
    )


def test_a_long_text_converges_too():
    frequencies = 1 / torch.arange(1, 2001).double()
    ids = torch.multinomial(frequencies, 300, replacement=True)[None]
    content = torch.ones_like(ids).bool()
    torch.testing.assert_close(text_rank(ids, content).double(), reference_ranks(ids, content), rtol=1e-4, atol=0)


@many
@given(texts())
def test_the_distinct_ids_of_a_text_share_a_sum_of_one(text):
    ids, content = text
    for row, counts, scores in zip(ids, content, text_rank(ids, content), strict=True):
        by_id = dict(zip(row[counts].tolist(), scores[counts].tolist(), strict=True))
        assert sum(by_id.values()) == pytest.approx(1.0 if counts.any() else 0.0, abs=1e-5)
        assert not scores[~counts].any()
        for token, score in zip(row[counts].tolist(), scores[counts].tolist(), strict=True):
            assert score == by_id[token]


@many
@given(texts(), st.integers(1, 4))
def test_padding_does_not_change_the_scores(text, extra):
    ids, content = text
    padded = text_rank(F.pad(ids, (0, extra), value=3), F.pad(content, (0, extra)))
    torch.testing.assert_close(padded, F.pad(text_rank(ids, content), (0, extra)))


@many
@given(texts())
def test_a_text_read_backwards_has_the_same_scores_backwards(text):
    ids, content = text
    torch.testing.assert_close(text_rank(ids.flip(-1), content.flip(-1)).flip(-1), text_rank(ids, content))


@many
@given(texts())
def test_renaming_the_ids_does_not_change_the_scores(text):
    ids, content = text
    torch.testing.assert_close(text_rank(1000 - 3 * ids, content), text_rank(ids, content))


def test_the_token_that_meets_most_others_ranks_highest():
    ids = torch.tensor([[1, 9, 2, 9, 3, 9, 4]])
    scores = text_rank(ids, torch.ones_like(ids).bool(), window=2)[0]
    assert (scores[ids[0] == 9] > 2 * scores[ids[0] != 9].max()).all()


def test_tokens_that_do_not_count_do_not_keep_others_apart():
    ids, content = torch.tensor([[5, 0, 0, 6, 7]]), torch.tensor([[True, False, False, True, True]])
    apart = text_rank(ids, content, window=2)[0, [0, 3, 4]]
    torch.testing.assert_close(apart, text_rank(torch.tensor([[5, 6, 7]]), content[:, [0, 3, 4]], window=2)[0])


@pytest.mark.parametrize("ids", [[[4]], [[4, 4, 4]]])
def test_a_single_word_has_all_the_salience(ids):
    ids = torch.tensor(ids)
    assert (text_rank(ids, torch.ones_like(ids).bool()) == 1).all()


def test_half_precision_around_it_does_not_change_the_scores():
    _, ids, content = example()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(text_rank(ids, content), text_rank(ids, content).float())
        inside = text_rank(ids, content)
    assert torch.equal(inside, text_rank(ids, content))


def test_a_mask_of_zeros_and_ones_will_do():
    attention, ids, content = example()
    with without_type_checks():
        assert torch.equal(text_rank(ids, content.long()), text_rank(ids, content))
        assert saloss(attention, ids, content.long()) == saloss(attention, ids, content)


@pytest.mark.parametrize("wrong", [{"window": 1}, {"damping": 1.0}, {"damping": -0.1}, {"iterations": -1}])
def test_an_option_that_makes_no_sense_is_refused(wrong):
    _, ids, content = example()
    with pytest.raises(ValueError, match=r"window must be 2 or more, damping in \[0, 1\) and iterations 0 or more"):
        text_rank(ids, content, **wrong)


# SaLoss


@every_direction
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("smoothing", [1e-3, 0.1, 1.0])
def test_saloss_is_the_divergence_of_attention_and_text_rank(direction, dtype, smoothing):
    attention, ids, content = example(dtype)
    actual = saloss(attention, ids, content, direction=direction, smoothing=smoothing)
    expected = regularisers.attention_attribution_divergence(
        attention.double().numpy(), reference_ranks(ids, content).numpy(), content.numpy(),
        direction=direction, normalise="sum", temperature=1.0, smoothing=smoothing,
    )  # fmt: skip
    assert actual.dtype == dtype
    assert actual.item() == pytest.approx(expected, abs=1e-6)


@many
@given(texts(), st.sampled_from(DIRECTIONS), st.sampled_from(["f4", "f8"]))
def test_saloss_is_finite_and_never_negative_whatever_the_texts(text, direction, kind):
    dtype = {"f4": torch.float32, "f8": torch.float64}[kind]
    scores = torch.randn(text[0].shape, dtype=dtype, requires_grad=True)
    value = saloss(scores.softmax(-1), *text, direction=direction)
    value.backward()
    assert -1e-6 <= value.item() <= math.log(14 / 0.1)
    assert scores.grad.isfinite().all()


@many
@given(texts())
def test_attention_in_proportion_to_the_salience_costs_nothing(text):
    assert saloss(3 * text_rank(*text), *text).item() == pytest.approx(0, abs=1e-6)


@every_direction
def test_the_derivatives_of_saloss_agree_with_finite_differences(direction):
    attention, ids, content = example()
    scores = attention.log().requires_grad_()

    def loss(scores):
        return saloss(scores.softmax(-1), ids, content, direction=direction)

    assert torch.autograd.gradcheck(loss, [scores])
    assert torch.autograd.gradgradcheck(loss, [scores])


def test_a_text_without_content_adds_zero():
    attention, ids, content = example()
    assert saloss(attention[2:], ids[2:], content[2:]) == 0
    torch.testing.assert_close(saloss(attention, ids, content) * 3, saloss(attention[:2], ids[:2], content[:2]) * 2)


def test_another_window_is_had_from_the_parts():
    attention, ids, content = example()
    parts = attention_attribution_divergence(attention, text_rank(ids, content, window=2).double(), content)
    assert parts != saloss(attention, ids, content)


def test_saloss_refuses_what_the_divergence_refuses():
    attention, ids, content = example()
    with pytest.raises(ValueError, match="smoothing must be above 0 and at most 1, got 0"):
        saloss(attention, ids, content, smoothing=0.0)
    with without_type_checks(), pytest.raises(ValueError, match=r"direction must be .* got 'both'"):
        saloss(attention, ids, content, direction="both")
