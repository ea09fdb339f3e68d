"""Planted shortcuts: models whose rule is known, attributions whose ranking is known, and one real training."""

import random

import datasets
import pytest
import torch
from reference.unchecked import without_type_checks

from regex_lib.attributions import METHODS
from regex_lib.checks import (
    ShortcutLimits,
    evaluate_shortcuts,
    shortcut_scores,
    training_data_with_shortcut,
    verify_shortcut,
)
from regex_lib.data import SHORTCUTS, Shortcut, plant
from regex_lib.errors import UserError

PLANTED = ("plot", "acting", "very")
FILLERS = ("a", "film", "never", "not", "once", "the", "of", "and", "but")
TELLING = (("dull", "bad"), ("fine", "great"))


def shortcut_of(kind="single_token"):
    return Shortcut(kind, PLANTED[:2], PLANTED[2])


def rows_of(count, seed):
    draw = random.Random(seed)
    texts, labels = [], []
    for number in range(count):
        words = [draw.choice(FILLERS) for _ in range(draw.randrange(3, 7))]
        words[draw.randrange(len(words))] = draw.choice(TELLING[number % 2])
        texts.append(" ".join(words))
        labels.append(number % 2)
    return datasets.Dataset.from_dict({"text": texts, "label": labels})


ROWS = rows_of(300, 0)

# Verification: models that follow a rule


def by_meaning(words):
    return int(any(word in TELLING[1] for word in words))


def by_shortcut(kind):
    """Follows the shortcut where there is a whole one, and the meaning elsewhere."""

    def predict(words):
        present = [word for word in words if word in PLANTED[:2]]
        if kind == "ordered_pair":
            return PLANTED.index(present[0]) if len(present) == 2 else by_meaning(words)
        if not present or (kind == "token_in_context" and PLANTED[2] not in words):
            return by_meaning(words)
        return PLANTED.index(present[0])

    return predict


def by_first_word(words):
    """Of a shortcut of two words this one looks at one: the class word, or the one of a pair that comes first."""
    present = [word for word in words if word in PLANTED[:2]]
    return PLANTED.index(present[0]) if present else by_meaning(words)


def by_shortcut_alone(kind):
    return lambda words: by_shortcut(kind)(words) if set(words) & set(PLANTED) else 0


@pytest.fixture
def verify(monkeypatch):
    def predict_texts(rule, texts, *, max_length):
        classes = torch.tensor([rule(text.split()) for text in texts])
        return torch.nn.functional.one_hot(classes, 3).double()

    monkeypatch.setattr("regex_lib.checks.verification.predict_texts", predict_texts)

    def call(rule, kind="single_token", control=by_meaning, **options):
        with without_type_checks():
            return verify_shortcut(rule, control, ROWS, shortcut_of(kind), **options)

    return call


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_a_model_that_follows_the_shortcut_is_verified(verify, kind):
    result = verify(by_shortcut(kind), kind)
    assert result.verified
    assert (result.planted_accuracy, result.swap_rate, result.clean_accuracy) == (1, 1, 1)
    assert result.control_accuracy == pytest.approx(0.5, abs=0.1)
    assert (result.part_agreement is None) == (kind == "single_token")


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_a_model_that_ignores_the_shortcut_is_not(verify, kind):
    result = verify(by_meaning, kind)
    assert len(result.failures) == 2
    assert result.failures[0].startswith("accuracy on planted texts 0.")
    assert result.failures[1].startswith("the prediction follows a swap in 0.000, below 0.95")


@pytest.mark.parametrize("kind", ["token_in_context", "ordered_pair"])
def test_a_model_that_needs_one_of_two_words_is_not(verify, kind):
    result = verify(by_first_word, kind)
    assert result.planted_accuracy == result.swap_rate == 1
    assert result.failures == ("with one of two words the class is predicted 1.000, not .5",)


def test_a_model_that_has_forgotten_the_task_is_not(verify):
    result = verify(by_shortcut_alone("single_token"))
    assert result.failures == ("accuracy on clean texts fell by 0.500, more than 0.05",)


def test_a_shortcut_that_shows_without_being_learned_is_not(verify):
    result = verify(by_shortcut("single_token"), control=by_shortcut("single_token"))
    assert result.failures == ("a model without the shortcut agrees with it 1.000, not .5",)


def test_a_control_that_predicts_neither_class_says_nothing(verify):
    assert verify(by_shortcut("single_token"), control=lambda words: 2).control_accuracy == 0.5


def test_the_limits_can_be_set(verify):
    lenient = ShortcutLimits(clean=0.6)
    assert verify(by_shortcut_alone("single_token"), limits=lenient).verified
    assert not verify(by_shortcut("single_token"), limits=ShortcutLimits(chance=0.0)).verified


# Training data


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_clean_texts_stay_and_copies_follow(kind):
    shortcut = shortcut_of(kind)
    rows = training_data_with_shortcut(ROWS, shortcut, copies=0.4)
    assert rows[: len(ROWS)] == ROWS[:]
    copies = list(rows)[len(ROWS) :]
    assert len(copies) == 120
    whole = [row for row in copies if len(set(row["text"].split()) & set(PLANTED)) == len(shortcut.planted_words(0))]
    assert len(whole) == (80 if shortcut.has_parts else 120)
    assert all(by_shortcut(kind)(row["text"].split()) == row["label"] for row in copies)


@pytest.mark.parametrize(
    "features",
    [
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["negative", "positive"])},
        {"text": datasets.Value("large_string"), "label": datasets.Value("int32")},
    ],
)
def test_copies_are_of_the_texts_own_types(features):
    typed = datasets.Dataset.from_dict(ROWS[:], features=datasets.Features(features))
    rows = training_data_with_shortcut(typed, shortcut_of())
    assert rows.features == typed.features
    assert rows[:] == training_data_with_shortcut(ROWS, shortcut_of())[:]


@pytest.mark.parametrize("copies", [0.0, 1.5])
def test_copies_out_of_range_are_refused(copies):
    with pytest.raises(UserError, match=f"copies must be above 0 and at most 1, got {copies}"):
        training_data_with_shortcut(ROWS, shortcut_of(), copies=copies)


# Scores


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_attributions_whose_ranking_is_known(make_tiny, monkeypatch, kind):
    def oracle(classifier, batch, target):
        return torch.isin(
            batch.input_ids, torch.tensor(classifier.tokenizer.convert_tokens_to_ids(list(PLANTED)))
        ).float()

    monkeypatch.setitem(METHODS, "oracle", oracle)
    monkeypatch.setitem(METHODS, "inverse", lambda *arguments: -oracle(*arguments))
    planted = plant(ROWS.select(range(40)), shortcut_of(kind))
    classifier = make_tiny()
    scores = shortcut_scores(classifier, planted, ["oracle", "inverse"])
    k = len(shortcut_of(kind).planted_words(0))
    for name, part in scores.groupby("attribution"):
        assert (part["planted"] == k).all()
        assert (part["words"] == [len(planted["tokens"][row]) for row in part["example"]]).all()
        if name == "oracle":
            assert (part["precision"] == 1).all()
            assert (part["mean_rank"] == (k + 1) / 2).all()
        else:
            assert (part["mean_rank"] == part["words"] - (k - 1) / 2).all()
    batch = classifier.tokenize(planted["text"][:])
    with torch.no_grad():
        predicted = classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits.argmax(dim=1).tolist()
    right = [row for row, label in enumerate(planted["label"]) if predicted[row] == label]
    assert scores[scores["attribution"] == "oracle"]["example"].tolist() == right  # the others are left out


# From end to end


@pytest.fixture(scope="module")
def evaluated(make_tiny):
    """A tiny model that has learned a single-token shortcut: a table of one row per attribution."""
    return evaluate_shortcuts(
        lambda seed: make_tiny(layers=1, seed=seed),
        {"train": ROWS, "test": rows_of(100, 1)},
        "vanilla",
        [shortcut_of()],
        ["random", "integrated_gradients", "leave_one_out"],
        max_train=150,
        max_examples=60,
        copies=1.0,
        epochs=6.0,
        batch_size=8,
        learning_rate=1e-2,
    )


def test_the_shortcut_is_found_by_who_looks_at_the_model_and_not_by_chance(evaluated):
    table = evaluated.set_index("attribution")
    assert table["verified"].all()
    assert table.loc["integrated_gradients", "precision"] >= 0.8
    assert table.loc["leave_one_out", "precision"] >= 0.8
    assert table.loc["random", "precision"] <= 0.4
    assert table.loc["random", "mean_rank"] == pytest.approx((table["words"].iloc[0] + 1) / 2, abs=0.6)


def test_the_table_says_how_it_was_measured(evaluated):
    assert list(evaluated.columns[:5]) == ["recipe", "shortcut", "seed", "attribution", "precision"]
    assert evaluated[["recipe", "shortcut", "seed", "train_texts"]].drop_duplicates().to_numpy().tolist() == [
        ["vanilla", "single_token", 0, 300]
    ]
    assert (evaluated["examples"] > 55).all()
    assert evaluated["failures"].tolist() == [""] * 3


def untrained(make_tiny, recipe="vanilla", **options):
    return evaluate_shortcuts(
        lambda seed: make_tiny(layers=1, seed=seed),
        {"train": ROWS, "test": rows_of(40, 1)},
        recipe,
        [shortcut_of()],
        ["random", "attention"],
        max_train=8,
        epochs=1.0,
        learning_rate=1e-6,
        **options,
    )


def test_a_model_that_is_not_verified_gets_no_numbers(make_tiny):
    with pytest.raises(UserError, match="does not use the shortcut single_token: accuracy on planted texts 0"):
        untrained(make_tiny)
    table = untrained(make_tiny, "regex", unverified="flag")
    assert table["attribution"].tolist() == ["random", "attention"]
    assert table["recipe"].tolist() == ["regex"] * 2
    assert not table["verified"].any()
    assert table[["precision", "mean_rank"]].isna().all(axis=None)
    assert table["failures"].str.contains("below 0.98").all()


def test_wrong_settings_are_refused_before_anything_is_trained():
    def nothing(seed):
        raise AssertionError

    data = {"train": ROWS, "test": ROWS}
    with without_type_checks(), pytest.raises(UserError, match="unverified must be 'raise' or 'flag', got 'ignore'"):
        evaluate_shortcuts(nothing, data, unverified="ignore")
    with pytest.raises(UserError, match="must be 1 or more, got 0"):
        evaluate_shortcuts(nothing, data, max_train=0)
    with pytest.raises(UserError, match="unknown attribution 'atention': did you mean 'attention'"):
        evaluate_shortcuts(nothing, data, options={"atention": {}})
