"""Stability of explanations: what each change does to a text, and what survives it, one text at a time."""

import datasets
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import randomisation as reference

from regex_lib.attributions import METHODS, register, score_batch
from regex_lib.attributions.sampling import example_generators
from regex_lib.checks import stability, summarise
from regex_lib.checks.perturbations import PERTURBATIONS, Source, mistyped
from regex_lib.errors import UserError
from regex_lib.evaluation import evaluate_faithfulness
from regex_lib.masks import token_budget

TEXTS = [
    "a fine film",
    "dull and very bad acting but a great plot",
    "never",
    "once the plot of the film never was dull not great not bad",
    "great great great",
]
REAL = [
    "A touching, unhurried film that earns every one of its tears.",
    "Don't go: it is 2 hours of déjà vu 😀, and the co-writer's cameo drags…",
    "Ok.",
]
POOL = torch.arange(5, 15)


@pytest.fixture
def methods():
    @register("by_position")
    def by_position(classifier, batch, target):
        """Ignores the model: the earlier, the more important."""
        return -batch.attention_mask.double().cumsum(dim=1)

    yield
    METHODS.pop("by_position")


@pytest.fixture
def exact(make_tiny):
    return make_tiny().double()


def source_of(classifier, texts, *, share=0.3, max_length=None, pool=POOL):
    longest = max_length or classifier.max_length
    return Source(classifier, texts, classifier.tokenize(texts, longest), longest, pool, share, 0.1)


def rows_of(perturbed, source):
    """For each text: its ids before and after, which of them count, and where each token went."""
    for old, counted, new, counts, attended, positions in zip(
        source.batch.input_ids, source.batch.content_mask, perturbed.batch.input_ids, perturbed.batch.content_mask,
        perturbed.batch.attention_mask, perturbed.positions.tolist(), strict=True,
    ):  # fmt: skip
        assert new[~attended].eq(source.classifier.pad_id).all()
        assert not counts[~attended].any()
        yield old.tolist(), counted.tolist(), new[attended].tolist(), counts[attended].tolist(), positions


def assert_survivors_are_themselves(old, counted, new, counts, positions):
    kept = [place for place in positions if place >= 0]
    assert kept == sorted(set(kept))
    assert all(counts[place] for place in kept)
    for place, token, counting in zip(positions, old, counted, strict=True):
        assert place < 0 or (counting and new[place] == token)


# The changes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_inserted_tokens_are_new_and_all_others_stay(make_tiny, kind, seed):
    source = source_of(make_tiny(kind), TEXTS)
    budgets = token_budget(source.batch.content_mask, 0.3).tolist()
    perturbed = PERTURBATIONS["insertion"](source, [seed] * len(TEXTS))
    for (old, counted, new, counts, positions), budget in zip(rows_of(perturbed, source), budgets, strict=True):
        assert_survivors_are_themselves(old, counted, new, counts, positions)
        assert sum(place >= 0 for place in positions) == sum(counted)
        added = [place for place, counting in enumerate(counts) if counting and place not in positions]
        assert len(added) == budget
        assert {new[place] for place in added} <= set(POOL.tolist())
        rest = [token for place, token in enumerate(new) if place not in added]
        assert rest == old[: len(rest)]  # the special tokens with them


def test_tokens_are_inserted_everywhere(exact):
    source = source_of(exact, ["a fine film"] * 200, share=0.1)
    perturbed = PERTURBATIONS["insertion"](source, range(200))
    gaps = {tuple(row) for row in perturbed.positions.tolist()}
    assert gaps == {(-1, 2, 3, 4, -1), (-1, 1, 3, 4, -1), (-1, 1, 2, 4, -1), (-1, 1, 2, 3, -1)}


def test_a_text_that_gets_too_long_loses_its_last_tokens(exact):
    source = source_of(exact, TEXTS, share=1.0, max_length=8)
    perturbed = PERTURBATIONS["insertion"](source, range(len(TEXTS)))
    for old, counted, new, counts, positions in rows_of(perturbed, source):
        assert_survivors_are_themselves(old, counted, new, counts, positions)
        assert len(new) <= 8
        assert new[-1] == exact.tokenizer.sep_token_id
        assert not counts[-1]
    assert perturbed.batch.input_ids.shape[1] == 8


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_removed_tokens_are_gone_and_one_stays(exact, share):
    source = source_of(exact, TEXTS, share=share)
    budgets = token_budget(source.batch.content_mask, share).tolist()
    perturbed = PERTURBATIONS["removal"](source, range(len(TEXTS)))
    for (old, counted, new, counts, positions), budget in zip(rows_of(perturbed, source), budgets, strict=True):
        assert_survivors_are_themselves(old, counted, new, counts, positions)
        kept = sum(counted) - min(budget, sum(counted) - 1)
        assert sum(counts) == kept == sum(place >= 0 for place in positions)
        assert len(new) == kept + 2


def edits(one, other):
    """How many single edits, neighbouring swaps among them, lie between two words."""
    table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
    table[:, 0], table[0] = range(len(one) + 1), range(len(other) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            table[i, j] = min(
                table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (one[i - 1] != other[j - 1])
            )
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[-1, -1]


@settings(deadline=None, max_examples=100)
@given(st.text("abé -'1漢", max_size=20), st.integers(0, 1000))
def test_a_slip_is_one_edit_of_one_word(text, seed):
    changed, word, shift = mistyped(text, len(text), np.random.default_rng(seed))
    assert len(changed) == len(text) + shift
    assert changed[: word.start] == text[: word.start]
    assert changed[word.stop + shift :] == text[word.stop :]
    slip = changed[word.start : word.stop + shift]
    assert edits(text[word], slip) == (text[word] != "")
    assert slip.isalpha() or not slip


def test_every_kind_of_slip_happens_and_only_in_the_words_that_are_seen():
    found = {mistyped("ab cd ef", 5, np.random.default_rng(seed))[0] for seed in range(300)}
    first = {"aab cd ef", "abb cd ef", "b cd ef", "a cd ef", "ba cd ef"}
    assert found == first | {"ab ccd ef", "ab cdd ef", "ab d ef", "ab c ef", "ab dc ef"}
    assert mistyped("a 1 -", 5, np.random.default_rng(0)) == ("a 1 -", slice(0, 0), 0)


@pytest.mark.parametrize("seed", range(5))
def test_after_a_slip_all_tokens_of_other_words_survive(minilm, seed):
    source = source_of(minilm, REAL)
    perturbed = PERTURBATIONS["typo"](source, [seed] * len(REAL))
    rows = zip(rows_of(perturbed, source), REAL, source.batch.offsets, strict=True)
    for number, ((old, counted, new, counts, positions), text, offsets) in enumerate(rows):
        assert_survivors_are_themselves(old, counted, new, counts, positions)
        _, word, shift = mistyped(text, len(text), np.random.default_rng(seed))
        for place, counting, (start, stop) in zip(positions, counted, offsets, strict=True):
            if counting:
                assert (place >= 0) == (stop <= word.start or start >= word.stop)
            if place >= 0:
                moved = shift * (start >= word.stop)
                assert perturbed.batch.offsets[number][place] == (start + moved, stop + moved)


def test_noise_leaves_tokens_where_they_are(exact):
    source = source_of(exact, TEXTS)
    perturbed = PERTURBATIONS["noise"](source, range(len(TEXTS)))
    places = torch.arange(source.batch.input_ids.shape[1]).expand(source.batch.input_ids.shape)
    assert torch.equal(perturbed.positions, places.where(source.batch.content_mask, -1))
    embeddings = exact.embed(source.batch.input_ids) * source.batch.content_mask[..., None]
    sizes = perturbed.noise.flatten(1).norm(dim=1) / embeddings.flatten(1).norm(dim=1)
    assert sizes.tolist() == pytest.approx([0.1] * len(TEXTS))


# The check against one text at a time


def predicted(classifier, batch, noise):
    embeddings = classifier.embed(batch.input_ids)
    return classifier(embeddings if noise is None else embeddings + noise, batch.attention_mask).logits.argmax().item()


def by_hand(classifier, name, kind, pool, how):
    """One text at a time, in plain Python."""
    rows = []
    for number, text in enumerate(TEXTS):
        batch = classifier.tokenize([text])
        source = Source(classifier, [text], batch, classifier.max_length, pool, how["share"], how["noise_size"])
        (own,) = (generator.initial_seed() for generator in example_generators(batch, how["seed"]))
        target = predicted(classifier, batch, None)
        ours = score_batch(classifier, batch, name, torch.tensor([target]), **how["options"].get(name, {}))[0]
        for sample in range(how["samples"]):
            perturbed = PERTURBATIONS[kind](source, [own + sample])
            row = {"example": number, "sample": sample, "survivors": 0, "jaccard": np.nan, "spearman": np.nan}
            row["same_prediction"] = predicted(classifier, perturbed.batch, perturbed.noise) == target
            if row["same_prediction"]:
                embed = classifier.embed
                if perturbed.noise is not None:  # baselines keep theirs
                    classifier.embed = lambda ids, p=perturbed, e=embed: e(ids) + p.noise * ids.equal(p.batch.input_ids)
                theirs = score_batch(
                    classifier, perturbed.batch, name, torch.tensor([target]), **how["options"].get(name, {})
                )[0]
                classifier.embed = embed
                pairs = [(ours[i].item(), theirs[j].item()) for i, j in enumerate(perturbed.positions[0]) if j >= 0]
                first, second = zip(*pairs, strict=True) if pairs else ((), ())
                row["survivors"] = len(pairs)
                if pairs:
                    row["jaccard"] = float(reference.jaccard(first, second, [True] * len(pairs), "0.25"))
                if len(set(first)) > 1 and len(set(second)) > 1:
                    row["spearman"] = scipy.stats.spearmanr(first, second).statistic
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("kind", list(PERTURBATIONS))
def test_the_frame_is_that_of_one_text_at_a_time(exact, kind):
    names = ["attention", "integrated_gradients"]
    how = {
        "seed": 3, "samples": 4, "share": 0.3, "noise_size": 0.5, "options": {"integrated_gradients": {"n_steps": 4}},
    }  # fmt: skip
    found = stability(exact, TEXTS, names, perturbations=[kind], **how)
    batch = exact.tokenize(TEXTS)
    pool = batch.input_ids[batch.content_mask].sort().values
    columns = ["example", "sample", "survivors", "jaccard", "spearman", "same_prediction"]
    for name in names:
        expected = by_hand(exact, name, kind, pool, how)
        rows = found.loc[found["attribution"] == name, columns].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, expected, rtol=0, atol=1e-9)
    assert found["spearman"].min() < 0.9, "the change must be felt"


@pytest.mark.parametrize("batch_size", [1, 3])
def test_it_does_not_depend_on_the_batches(exact, batch_size):
    names = ["random", "attention", "input_x_gradient"]
    found, expected = (stability(exact, TEXTS, names, samples=2, batch_size=size) for size in (batch_size, 32))
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-9)


def test_where_the_prediction_changes_there_is_no_number(exact):
    with torch.no_grad():  # a decision that hangs in the balance
        batch = exact.tokenize(TEXTS)
        exact.model.classifier.bias -= exact(exact.embed(batch.input_ids), batch.attention_mask).logits.median(0).values
    frame = stability(exact, TEXTS, ["attention"], perturbations=["noise"], noise_size=1.0, samples=8)
    changed = frame[~frame["same_prediction"]]
    assert 0 < len(changed) < len(frame)
    assert changed[["jaccard", "random_jaccard", "spearman"]].isna().all(axis=None)
    assert (changed["survivors"] == 0).all()
    assert frame.loc[frame["same_prediction"], "jaccard"].notna().all()


def test_without_a_change_everything_stays(exact):
    names = ["random", "attention", "input_x_gradient"]
    frame = stability(exact, TEXTS, names, perturbations=["insertion", "removal", "noise"], share=0.0, noise_size=0.0)
    assert frame["same_prediction"].all()
    assert (frame["jaccard"] == 1.0).all()
    assert (frame["spearman"].dropna() == 1.0).all()


def test_the_seed_and_the_sample_decide_the_changes(exact):
    state = torch.get_rng_state()
    one, same, other = (stability(exact, TEXTS, ["attention"], samples=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    pd.testing.assert_frame_equal(one, same)
    assert not one["spearman"].equals(other["spearman"])
    first, second = (one.loc[one["sample"] == sample, "spearman"].tolist() for sample in (0, 1))
    assert first != second


# What is stable need not be faithful


def test_an_attribution_that_ignores_the_model_is_stable_and_its_fidelity_stands_beside_it(exact, methods):
    kinds = ["insertion", "removal", "typo"]
    names = ["by_position", "random", "leave_one_out"]
    frame = stability(exact, TEXTS * 4, names, perturbations=kinds)
    summary = summarise(frame).set_index(["attribution", "perturbation"])
    for kind in kinds:
        assert summary.loc[("by_position", kind), "spearman"] == 1.0
        assert summary.loc[("by_position", kind), "jaccard"] == 1.0
        stable, faithful = (summary.loc[(name, kind), "comprehensiveness"] for name in ("by_position", "leave_one_out"))
        assert stable < faithful
        assert summary.loc[("leave_one_out", kind), "spearman"] < 1.0
        assert summary.loc[("random", kind), "spearman"] < 0.6  # drawn from the tokens, which have changed


def test_comprehensiveness_is_that_of_an_evaluation(exact):
    names, options = ["attention", "integrated_gradients"], {"integrated_gradients": {"n_steps": 2}}
    frame = stability(exact, TEXTS, names, samples=1, perturbations=["removal"], options=options)
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [1] * len(TEXTS)})
    expected = evaluate_faithfulness(exact, rows, names, ["comprehensiveness"], options=options).examples
    columns = ["attribution", "example", "comprehensiveness"]
    merged = frame[columns].merge(expected[columns], on=columns[:2], suffixes=("", "_expected"))
    assert len(merged) == len(frame) == 2 * len(TEXTS)
    assert merged["comprehensiveness"].tolist() == pytest.approx(merged["comprehensiveness_expected"].tolist())


def test_stability_without_fidelity_is_refused(exact):
    frame = stability(exact, TEXTS, ["attention"], samples=1, perturbations=["removal"])
    with pytest.raises(UserError, match="stability without fidelity says nothing"):
        summarise(frame.drop(columns="comprehensiveness"))


# What is refused


def test_noise_does_not_reach_what_removes_tokens(exact):
    with pytest.raises(UserError, match="which 'leave_one_out' does not read"):
        stability(exact, TEXTS, ["leave_one_out"], perturbations=["noise"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perturbations": ["typos"]}, "unknown perturbation 'typos': did you mean 'typo'"),
        ({"perturbations": []}, "one perturbation and one sample are the least, got 0 and 3"),
        ({"samples": 0}, "one perturbation and one sample are the least, got 4 and 0"),
        ({"share": 1.5}, "share must be in .* got 1.5"),
        ({"noise_size": -1.0}, "noise_size 0 or more, got .* and -1.0"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"max_length": 2}, "max_length must be between 3"),
    ],
)
def test_impossible_settings_are_refused(exact, options, message):
    with pytest.raises(UserError, match=message):
        stability(exact, TEXTS, ["attention"], **options)


def test_a_single_text_is_refused(exact):
    with pytest.raises(UserError, match="texts must be a list of texts, got a single one: put it into brackets"):
        stability(exact, "a fine film", ["attention"])


# Real weights


def test_on_real_weights(minilm):
    frame = stability(minilm, REAL, ["random", "attention", "input_x_gradient"], samples=2)
    assert len(frame) == 3 * 4 * 3 * 2
    assert frame["comprehensiveness"].between(0, 1).all()
    summary = summarise(frame).set_index(["attribution", "perturbation"])
    assert summary.loc[("random", "noise"), "spearman"] == 1.0  # it reads tokens, and these are the same
    for kind in ("insertion", "removal", "typo"):
        assert summary.loc[("attention", kind), "spearman"] > summary.loc[("random", kind), "spearman"]
    assert summary.loc[("attention", "noise"), "spearman"] > 0.8
