"""Soft sufficiency and comprehensiveness: by hand, against a plain loop, their draws, and texts at the edge."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import faithfulness
from reference.unchecked import without_type_checks

from regex_lib.metrics import (
    normalised_comprehensiveness,
    normalised_sufficiency,
    scaled_attribution,
    soft_comprehensiveness,
    soft_keep_mask,
    soft_sufficiency,
)

many = settings(deadline=None, max_examples=40)
LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=4)
SCORES = [soft_sufficiency, soft_comprehensiveness]
every_score = pytest.mark.parametrize("score", SCORES)


def probability_of(embeddings):
    """Special tokens, padding and all entries count, each with its own weight; nothing is symmetric."""
    weights = torch.linspace(-1, 2, embeddings[0].numel(), dtype=embeddings.dtype).view(embeddings.shape[1:])
    return torch.sigmoid((embeddings * weights).sum(dim=(1, 2)))


def case(lengths=(3, 5, 1), seed=0, dim=4, dtype=torch.float64):
    """A special token, the content, padding; and scores at all of them."""
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths) + 2
    places = torch.arange(width)
    content = (places >= 1) & (places <= torch.tensor(lengths)[:, None])
    embeddings = torch.randn(len(lengths), width, dim, generator=generator, dtype=dtype)
    embeddings = embeddings * (places <= torch.tensor(lengths)[:, None])[..., None]
    scores = torch.randn(len(lengths), width, generator=generator, dtype=dtype)
    return embeddings, scores, content, torch.arange(len(lengths)) + 100


def scored(score, embeddings, scores, content, seeds, **options):
    full, empty = probability_of(embeddings), probability_of(embeddings * ~content[..., None])
    return score(probability_of, embeddings, scores, content, full, empty, seeds=seeds, **options)


# Against the definition


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("score", SCORES)
def test_the_score_equals_a_plain_loop(score, samples):
    embeddings, scores, content, seeds = case()
    actual = scored(score, embeddings, scores, content, seeds, samples=samples)
    normalise = {
        soft_sufficiency: faithfulness.normalised_sufficiency,
        soft_comprehensiveness: faithfulness.normalised_comprehensiveness,
    }[score]
    for example in range(len(embeddings)):
        places = content[example].nonzero()[:, 0].tolist()
        values = scores[example, places]
        spread = (values.max() - values.min()).item()
        share = [(v - values.min()).item() / spread if spread else 0.5 for v in values]
        x = embeddings[example]
        full = probability_of(x[None]).item()
        empty = probability_of((x * ~content[example][:, None])[None]).item()
        generator, total = torch.Generator().manual_seed(int(seeds[example])), 0.0
        for _ in range(samples):
            noise = torch.rand(len(places), x.shape[1], generator=generator)
            perturbed = x.clone()
            for place, row, a in zip(places, noise, share, strict=True):
                for entry, drawn in enumerate(row.tolist()):
                    keep = drawn < (a if score is soft_sufficiency else 1 - a)
                    perturbed[place, entry] = x[place, entry] if keep else 0.0
            total += normalise(full, probability_of(perturbed[None]).item(), empty)
        assert actual[example].item() == pytest.approx(total / samples, abs=1e-9)


@every_score
def test_scores_of_0_and_1_are_hard_erasure(score):
    embeddings, _, content, seeds = case([4])
    top = torch.tensor([[False, True, False, True, False, False]])
    soft = scored(score, embeddings, top.double(), content, seeds)
    full, empty = probability_of(embeddings), probability_of(embeddings * ~content[..., None])
    if score is soft_sufficiency:
        hard = normalised_sufficiency(full, probability_of(embeddings * (top | ~content)[..., None]), empty)
    else:
        hard = normalised_comprehensiveness(full, probability_of(embeddings * ~top[..., None]), empty)
    torch.testing.assert_close(soft, hard)


# The draws


def test_entries_are_kept_as_often_as_their_probability_says():
    probability = torch.tensor([[0.1, 0.5, 0.9]])
    keep = soft_keep_mask(probability, torch.ones(1, 3, dtype=torch.bool), 20_000, [torch.Generator().manual_seed(1)])
    torch.testing.assert_close(keep.float().mean(dim=-1), probability, atol=0.02, rtol=0)


def test_entries_of_a_token_are_kept_independently():
    keep = soft_keep_mask(
        torch.full((1, 2000), 0.5), torch.ones(1, 2000, dtype=torch.bool), 2, [torch.Generator().manual_seed(1)]
    )
    both = (keep[0, :, 0] & keep[0, :, 1]).float().mean().item()
    assert both == pytest.approx(0.25, abs=0.05)


@many
@given(LENGTHS, st.integers(0, 100))
def test_what_is_no_content_is_always_kept(lengths, seed):
    _, _, content, seeds = case(lengths, seed)
    generators = [torch.Generator().manual_seed(s) for s in seeds.tolist()]
    keep = soft_keep_mask(torch.zeros(content.shape), content, 3, generators)
    assert torch.equal(keep, ~content[..., None].expand_as(keep))


@every_score
@many
@given(lengths=LENGTHS, seed=st.integers(0, 100))
def test_neither_padding_nor_other_examples_change_a_score(score, lengths, seed):
    embeddings, scores, content, seeds = case(lengths, seed)

    def weighted(embeddings):  # no weight depends on the width
        return torch.sigmoid(embeddings.sum(dim=(1, 2)))

    def of(embeddings, scores, content, seeds):
        full, empty = weighted(embeddings), weighted(embeddings * ~content[..., None])
        return score(weighted, embeddings, scores, content, full, empty, seeds=seeds)

    together = of(embeddings, scores, content, seeds)
    wide = of(F.pad(embeddings, (0, 0, 0, 3)), F.pad(scores, (0, 3), value=7.0), F.pad(content, (0, 3)), seeds)
    torch.testing.assert_close(wide, together)
    back = of(embeddings.flip(0), scores.flip(0), content.flip(0), seeds.flip(0))
    torch.testing.assert_close(back.flip(0), together)


@every_score
def test_the_seed_decides_and_the_global_random_state_is_left_alone(score):
    inputs = case([5, 5])
    before = torch.get_rng_state()
    first, again = scored(score, *inputs), scored(score, *inputs)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, scored(score, *inputs[:3], inputs[3] + 1))


@every_score
def test_a_content_mask_of_zeros_and_ones_is_the_same_mask(score):
    embeddings, scores, content, seeds = case()
    full, empty = probability_of(embeddings), probability_of(embeddings * ~content[..., None])
    expected = score(probability_of, embeddings, scores, content, full, empty, seeds=seeds)
    with without_type_checks():
        found = score(probability_of, embeddings, scores, content.long(), full, empty, seeds=seeds)
        keep = soft_keep_mask(torch.zeros(content.shape), content.long(), 3, [torch.Generator() for _ in seeds])
    assert torch.equal(found, expected)
    assert torch.equal(keep, ~content[..., None].expand_as(keep))


# The scale


@many
@given(LENGTHS, st.integers(0, 100), st.sampled_from([0.5, 2.0, 1024.0]), st.integers(-4, 4))
def test_scaled_scores_span_0_to_1_whatever_their_unit(lengths, seed, scale, shift):
    _, scores, content, _ = case(lengths, seed)
    scaled = scaled_attribution(scores, content)
    assert ((scaled >= 0) & (scaled <= 1)).all()
    assert not scaled[~content].any()
    torch.testing.assert_close(scaled_attribution(scale * scores + shift, content), scaled)
    for row, counts in zip(scaled, content, strict=True):
        if counts.sum() > 1:
            assert (row[counts].min(), row[counts].max()) == (0, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("row", [[2.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
def test_equal_scores_become_one_half(row, dtype):
    content = torch.tensor([[True, True, False]])
    scaled = scaled_attribution(torch.tensor([row], dtype=dtype), content)
    assert scaled.dtype == dtype
    assert scaled.tolist() == [[0.5, 0.5, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_largest_and_the_smallest_numbers_are_scaled_too(dtype):
    huge, tiny = torch.finfo(dtype).max, torch.finfo(dtype).tiny
    content = torch.ones(1, 3, dtype=torch.bool)
    assert scaled_attribution(torch.tensor([[-huge, 0.0, huge]], dtype=dtype), content).tolist() == [[0.0, 0.5, 1.0]]
    assert scaled_attribution(torch.tensor([[0.0, tiny, 0.0]], dtype=dtype), content).tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize("row", [[torch.nan, 1.0, 2.0], [1.0, torch.nan, 1.0], [torch.nan] * 3])
def test_scores_that_are_no_numbers_have_no_scale(row):
    content = torch.tensor([[False, True, True, True]] * 2)
    scaled = scaled_attribution(torch.tensor([[9.0, *row], [torch.nan, 0.0, 1.0, 2.0]]), content)
    assert scaled[0, 1:].isnan().all()
    assert scaled[0, 0] == 0
    assert scaled[1].tolist() == [0.0, 0.0, 0.5, 1.0]


@every_score
@pytest.mark.parametrize("samples", [1, 2])
def test_a_text_with_scores_that_are_no_numbers_has_no_score(score, samples):
    embeddings, scores, content, seeds = case()
    expected = scored(score, embeddings, scores, content, seeds, samples=samples)
    scores[1, 2] = torch.nan
    found = scored(score, embeddings, scores, content, seeds, samples=samples)
    assert found[1].isnan()
    assert torch.equal(found[[0, 2]], expected[[0, 2]])


# At the edge


@every_score
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lengths", [[1], [0], [0, 3], [1, 1]])
def test_texts_at_the_edge_have_finite_scores(score, lengths, dtype):
    values = scored(score, *case(lengths, dtype=dtype))
    assert values.dtype == dtype
    assert ((values >= 0) & (values <= 1)).all()


@every_score
def test_a_batch_of_padding_alone_has_finite_scores(score):
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    values = scored(score, torch.zeros(2, 3, 4), torch.zeros(2, 3), nothing, torch.tensor([1, 2]))
    assert values.isfinite().all()


@every_score
def test_no_sample_at_all_is_refused(score):
    with pytest.raises(ValueError, match="samples must be 1 or more, got 0"):
        scored(score, *case(), samples=0)
