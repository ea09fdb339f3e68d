"""Scores of what survives a change, and noise on embeddings."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.unchecked import without_type_checks

from regex_lib.metrics import embedding_noise, rank_correlation, surviving_scores, top_k_jaccard

many = settings(deadline=None, max_examples=40)
LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=3)


@many
@given(st.integers(1, 6), st.integers(0, 1000))
def test_scores_find_their_places_again(tokens, seed):
    """However the tokens are moved about, with others between them."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, tokens, generator=generator)
    places = torch.rand(2, tokens + 3, generator=generator).argsort(dim=1)[:, :tokens]
    lost = torch.rand(2, tokens, generator=generator) < 0.3
    moved = torch.full((2, tokens + 3), 99.0).scatter(1, places, scores)
    found, survived = surviving_scores(moved, places.masked_fill(lost, -1))
    assert torch.equal(survived, ~lost)
    assert torch.equal(found, scores.masked_fill(lost, 0.0))


def test_where_nothing_survives_there_is_nothing_to_compare():
    found, survived = surviving_scores(torch.ones(1, 1), torch.full((1, 3), -1))
    assert not survived.any()
    assert not found.any()
    assert rank_correlation(torch.ones(1, 3), found, survived).isnan().all()
    assert top_k_jaccard(torch.ones(1, 3), found, survived).isnan().all()


@many
@given(LENGTHS, st.floats(0, 2), st.sampled_from(["f4", "f8"]))
def test_noise_has_its_size_and_stays_on_the_content(lengths, size, kind):
    dtype = {"f4": torch.float32, "f8": torch.float64}[kind]
    content = torch.arange(1, max(lengths) + 3) <= torch.tensor(lengths)[:, None]
    x = torch.randn(*content.shape, 3, dtype=dtype)
    noise = embedding_noise(x, content, size=size, seeds=torch.arange(len(lengths)))
    assert noise.dtype == dtype
    assert not noise[~content].any()
    for row, delta, counts in zip(x, noise, content, strict=True):
        assert delta.norm().item() == pytest.approx(size * row[counts].norm().item(), rel=1e-4, abs=1e-6)


def test_noise_has_no_direction_of_its_own():
    content = torch.ones(4000, 2).bool()
    noise = embedding_noise(torch.ones(4000, 2, 3), content, size=1.0, seeds=torch.arange(4000)).flatten(1)
    assert noise.mean(dim=0).tolist() == pytest.approx([0.0] * 6, abs=0.08)
    covariance = noise.T @ noise / 4000  # its length is that of six ones, so that each variance is 1
    torch.testing.assert_close(covariance, torch.eye(6), rtol=0, atol=0.1)


def test_noise_depends_on_the_examples_own_seed_and_tokens_only():
    content = torch.tensor([[True, True, False], [True, True, True]])
    x, seeds = torch.randn(2, 3, 2), torch.tensor([5, 6])
    before = torch.get_rng_state()
    noise = embedding_noise(x, content, seeds=seeds)
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(embedding_noise(x[:1, :2], content[:1, :2], seeds=seeds[:1]), noise[:1, :2])
    torch.testing.assert_close(embedding_noise(x.flip(0), content.flip(0), seeds=seeds.flip(0)).flip(0), noise)
    assert not torch.equal(embedding_noise(x, content, seeds=seeds + 1), noise)


def test_a_content_mask_of_zeros_and_ones_is_the_same_mask():
    content, x, seeds = torch.tensor([[True, True, False], [True, False, True]]), torch.randn(2, 3, 2), torch.arange(2)
    with without_type_checks():
        noise = embedding_noise(x, content.long(), seeds=seeds)
    assert torch.equal(noise, embedding_noise(x, content, seeds=seeds))


def test_noise_of_a_negative_size_is_refused():
    with pytest.raises(ValueError, match=r"size must be 0 or more, got -0\.1"):
        embedding_noise(torch.ones(1, 2, 2), torch.ones(1, 2).bool(), size=-0.1, seeds=torch.tensor([0]))
