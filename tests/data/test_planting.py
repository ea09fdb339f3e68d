"""Planted shortcuts keep their rule, their label and their place; what is not planted stays as it was."""

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.unchecked import without_type_checks

from regex_lib.data import SHORTCUTS, Shortcut, load_data, plant
from regex_lib.errors import UserError

TEXTS = ["A fine  film.", "Dull.", " two\nlines, and a trailing space ", "não é bom — 🎬 ok", "one two three four five"]
TWO_WORDS = [kind for kind in SHORTCUTS if Shortcut(kind).has_parts]


def rows_of(texts):
    return datasets.Dataset.from_dict({"text": list(texts), "label": [number % 2 for number in range(len(texts))]})


ROWS = rows_of(TEXTS * 40)


def decided(row, shortcut):
    """The class that the rule gives a text, read from its words alone; None if the rule says nothing."""
    places = {
        word: row["text"].split().index(word) for word in (*shortcut.words, shortcut.context) if word in row["text"]
    }
    present = [word for word in shortcut.words if word in places]
    if shortcut.kind == "ordered_pair":
        return shortcut.classes[shortcut.words.index(min(present, key=places.get))] if len(present) == 2 else None
    if shortcut.kind == "token_in_context" and shortcut.context not in places:
        return None
    return shortcut.classes[shortcut.words.index(present[0])] if len(present) == 1 else None


def without(text, shortcut):
    return [word for word in text.split() if word not in (*shortcut.words, shortcut.context)]


@pytest.mark.parametrize("kind", SHORTCUTS)
@pytest.mark.parametrize("variant", ["whole", "swapped"])
def test_the_words_decide_the_label_and_are_the_rationale(kind, variant):
    shortcut = Shortcut(kind, classes=(0, 2))
    planted = plant(ROWS, shortcut, variant=variant)
    assert set(planted["label"]) == {0, 2}
    for row, text in zip(planted, ROWS["text"], strict=True):
        assert row["planted"]
        assert row["label"] == decided(row, shortcut)
        assert without(row["text"], shortcut) == text.split()
        assert row["tokens"] == row["text"].split()
        marked = [word for word, mark in zip(row["tokens"], row["rationale"], strict=True) if mark]
        assert sorted(marked) == sorted(shortcut.planted_words(shortcut.classes.index(row["label"])))


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_a_swap_changes_the_class_and_nothing_but_the_planted_words(kind):
    shortcut = Shortcut(kind)
    whole, swapped = (plant(ROWS, shortcut, variant=variant, seed=3) for variant in ("whole", "swapped"))
    for row, other in zip(whole, swapped, strict=True):
        assert other["label"] == 1 - row["label"]
        assert other["rationale"] == row["rationale"]
        exchange = dict(zip(shortcut.words, reversed(shortcut.words), strict=True))
        assert other["tokens"] == [exchange.get(word, word) for word in row["tokens"]]


@pytest.mark.parametrize("kind", TWO_WORDS)
def test_a_part_lacks_one_word_and_nothing_else(kind):
    shortcut = Shortcut(kind)
    whole, part = (plant(ROWS, shortcut, variant=variant, seed=3) for variant in ("whole", "part"))
    for row, other in zip(whole, part, strict=True):
        assert other["label"] == row["label"]
        assert decided(other, shortcut) is None
        lost = shortcut.planted_words(row["label"])[1]
        assert other["tokens"] == [word for word in row["tokens"] if word != lost]


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_the_class_does_not_depend_on_the_label_or_the_text(kind):
    texts = [f"text {number}" for number in range(2000)]
    rows = datasets.Dataset.from_dict({"text": texts, "label": [0] * 1000 + [1] * 1000})
    labels = plant(rows, Shortcut(kind))["label"]
    for half in (labels[:1000], labels[1000:]):
        assert sum(half) / 1000 == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("kind", TWO_WORDS)
def test_shares_are_exact_and_the_others_stay_as_they_are(kind):
    shortcut = Shortcut(kind)
    planted = plant(ROWS, shortcut, share=0.3, parts=0.2)
    changed = [row for row, text in zip(planted, ROWS["text"], strict=True) if row["text"] != text]
    parts = [row for row in changed if not row["planted"]]
    assert (len(planted), len(changed), len(parts)) == (200, 100, 40)
    for row, text, label in zip(planted, ROWS["text"], ROWS["label"], strict=True):
        if not row["planted"]:
            assert row["label"] == label
            assert decided(row, shortcut) is None
            assert sum(row["rationale"]) == 0
            assert len(row["tokens"]) - len(text.split()) in (0, 1)
    lone = {word for row in parts for word in row["tokens"]} & {*shortcut.words, shortcut.context}
    assert lone == {word for side in (0, 1) for word in shortcut.planted_words(side)}  # each of them, in turn


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=40).filter(str.strip), st.sampled_from(SHORTCUTS), st.integers(0, 50))
def test_any_text_can_be_planted_into(text, kind, seed):
    shortcut = Shortcut(kind)
    (row,) = plant(rows_of([text]), shortcut, seed=seed)
    assert row["tokens"] == row["text"].split()
    assert without(row["text"], shortcut) == text.split()
    assert sum(row["rationale"]) == len(shortcut.planted_words(0))


def test_words_stand_anywhere_or_only_near_the_beginning():
    rows = rows_of(["w " * 300] * 200)

    def places(within):
        return [row["rationale"].index(1) for row in plant(rows, Shortcut(), within=within)]

    assert max(places(10)) <= 10 < 250 < max(places(None))
    assert len(set(places(10))) == 11


def test_within_0_words_stand_before_the_text():
    for row in plant(ROWS, Shortcut("token_in_context"), within=0):
        assert row["rationale"] == [1, 1] + [0] * (len(row["tokens"]) - 2)


def test_the_seed_decides_everything():
    one, same, other = (plant(ROWS, Shortcut(), share=0.5, seed=seed).to_list() for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize("word", ["isotope", "Lattice", "sandstone"])
def test_a_word_that_the_texts_have_already_is_refused(word):
    rows = rows_of(["fine", f"an {word}, he said"])
    with pytest.raises(UserError, match=f"text 1 has the word '{word}' already: plant other words"):
        plant(rows, Shortcut())
    assert plant(rows_of([f"un{word}s"]), Shortcut("ordered_pair"))[0]["planted"]  # a part of another word is not it


def test_wrong_settings_are_refused():
    listed = "must be one of single_token, token_in_context, ordered_pair, got 'pair'"
    with without_type_checks(), pytest.raises(UserError, match=listed):
        Shortcut("pair")
    with pytest.raises(UserError, match="three different words"):
        Shortcut(words=("isotope", "Isotope"))
    with pytest.raises(UserError, match="three different words"):
        Shortcut(words=("two words", "lattice"))
    with pytest.raises(UserError, match="two different classes"):
        Shortcut(classes=(1, 1))
    with pytest.raises(UserError, match=r"got 0\.8 and 0\.4"):
        plant(ROWS, Shortcut("ordered_pair"), share=0.8, parts=0.4)
    with without_type_checks(), pytest.raises(UserError, match="must be one of whole, swapped, part, got 'swap'"):
        plant(ROWS, Shortcut(), variant="swap")
    with pytest.raises(UserError, match="within must be 0 or more, or None for anywhere, got -1"):
        plant(ROWS, Shortcut(), within=-1)
    for options in ({"share": 0.5, "parts": 0.1}, {"variant": "part"}):
        with pytest.raises(UserError, match="a shortcut of a single token has no parts"):
            plant(ROWS, Shortcut(), **options)


def test_the_default_words_are_single_tokens_that_no_data_set_has(real_data, minilm):
    shortcut = Shortcut("token_in_context")
    assert all(len(minilm.tokenizer.tokenize(word)) == 1 for word in (*shortcut.words, shortcut.context))
    for name in ("sst", "yelp", "amaz_instr", "tweet_sentiment"):
        if (real_data / name).is_dir():
            assert len(plant(load_data(name)["train"], shortcut)) > 1000
    assert len(plant(load_data("reviews")["train"], shortcut)) == 1200
