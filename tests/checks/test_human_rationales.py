"""Plausibility on texts whose answers are known, on minimal pairs, and on real data."""

import datasets
import pandas as pd
import pytest
import torch

from regex_lib.attributions import METHODS
from regex_lib.checks import evaluate_minimal_pairs, evaluate_plausibility
from regex_lib.checks.plausibility import edited_words
from regex_lib.data import load_data
from regex_lib.errors import UserError

MARKED = {"great", "fine", "dull", "bad"}
TEXTS = [
    "a fine film and the plot of the film",
    "never the dull acting and bad plot",
    "the plot of a great film",
    "dull but the acting once",
    "not the film",
]
ROWS = datasets.Dataset.from_dict(
    {
        "text": TEXTS,
        "label": [1, 0, 1, 0, 0],
        "tokens": [text.split() for text in TEXTS],
        "rationale": [[int(word in MARKED) for word in text.split()] for text in TEXTS],
    }
)


@pytest.fixture
def oracle(monkeypatch):
    """An attribution that knows the marked words, and one that knows them the wrong way round."""

    def marked(classifier, batch, target):
        ids = classifier.tokenizer.convert_tokens_to_ids(sorted(MARKED))
        return torch.isin(batch.input_ids, torch.tensor(ids)).float()

    monkeypatch.setitem(METHODS, "oracle", marked)
    monkeypatch.setitem(METHODS, "inverse", lambda *arguments: -marked(*arguments))
    return ["oracle", "inverse", "random"]


def test_who_marks_what_people_marked_scores_one_and_who_marks_the_rest_scores_none(make_tiny, oracle):
    table = evaluate_plausibility(make_tiny(), ROWS, oracle).table.set_index("attribution")
    assert table.loc["oracle", ["token_f1", "iou_f1", "auprc"]].tolist() == [1, 1, 1]
    assert table.loc["inverse", "token_f1"] == 0
    assert table.loc["inverse", "auprc"] < table.loc["random", "auprc"] < 1
    assert table["examples"].tolist() == [4] * 3  # nobody marked a word of the fifth
    assert table["unread"].tolist() == [0] * 3


def test_accuracy_stands_beside_it(make_tiny):
    classifier = make_tiny()
    report = evaluate_plausibility(classifier, ROWS, ["random"])
    examples = report.examples
    assert examples["label"].tolist() == [1, 0, 1, 0]
    assert report.table["accuracy"][0] == (examples["label"] == examples["prediction"]).mean()


def test_a_ratio_selects_that_share_of_the_words(make_tiny, oracle):
    def f1(size):
        return evaluate_plausibility(make_tiny(), ROWS, ["oracle"], size=size).examples["token_f1"].tolist()

    k = {0.2: [2, 2, 2, 1], 1.0: [9, 7, 6, 5]}  # of 9, 7, 6 and 5 words
    marks = [1, 2, 1, 1]
    for size, selected in k.items():
        expected = [2 * min(m, n) / (m + n) for m, n in zip(marks, selected, strict=True)]
        assert f1(size) == pytest.approx(expected)


def test_words_beyond_a_cut_take_no_part_and_are_counted(make_tiny, oracle):
    report = evaluate_plausibility(make_tiny(), ROWS, ["oracle"], long_texts="truncate", max_length=5)
    # Three words of each text are read; the last of five marked ones, and "great", are not.
    assert report.settings["unread"] == pytest.approx(2 / 5)
    assert report.examples["token_f1"].isna().tolist() == [False, False, True, False]
    assert report.table["token_f1"].tolist() == [1]
    windows = evaluate_plausibility(make_tiny(), ROWS, ["oracle"], max_length=5)
    assert windows.settings["unread"] == 0
    assert windows.table["auprc"].tolist() == [1]


def test_examples_are_drawn_by_the_seed(make_tiny):
    def drawn(seed):
        return evaluate_plausibility(make_tiny(), ROWS, ["random"], max_examples=2, seed=seed).examples

    pd.testing.assert_frame_equal(drawn(1), drawn(1))
    assert len({tuple(drawn(seed)["example"]) for seed in range(6)}) > 1
    assert set(drawn(0)["example"]) <= {0, 1, 2, 3}


def with_marks(marks):
    """Makes of rows some whose second has these marks, and whose others have none."""
    return lambda rows: rows.remove_columns("rationale").add_column("rationale", [None, marks, None, None, None])


def test_rows_without_a_rationale_are_left_out(make_tiny):
    marked = [0, 0, 1, 0, 0, 1, 0]
    for rows in (with_marks(marked)(ROWS), with_marks(marked)(ROWS).with_format("torch")):
        assert evaluate_plausibility(make_tiny(), rows, ["random"]).examples["example"].tolist() == [1]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda rows: rows.remove_columns("rationale"), {}, "the data has no column 'rationale', only: text, label"),
        (with_marks(None), {}, "no text of the data has a marked word"),
        (with_marks([1] * 8), {}, "row 1 has 7 tokens, but 8 marks in 'rationale': give one each"),
        (lambda rows: rows.select([4]), {}, "no text of the data has a marked word"),
        (lambda rows: rows, {"size": 1.5}, "size must be 'human' or a share above 0 and at most 1, got 1.5"),
        (lambda rows: rows, {"max_examples": 0}, "max_examples must be 1 or more, got 0"),
    ],
)
def test_wrong_input_is_refused(make_tiny, change, options, message):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        evaluate_plausibility(make_tiny(), change(ROWS), ["random"], **options)


# Minimal pairs


PAIRS = ["a fine plot", "a dull plot", "the film", "the bad film", "great acting", "bad acting"]


def pairs(labels):
    return datasets.Dataset.from_dict(
        {
            "text": [*PAIRS, "a film"],
            "label": [*labels, 0],
            "tokens": [text.split() for text in (*PAIRS, "a film")],
            "pair": ["p1", "p1", "p2", "p2", "p3", "p3", None],
        }
    )


@pytest.fixture
def predicted(make_tiny):
    batch = make_tiny().tokenize(PAIRS)
    classifier = make_tiny()
    with torch.no_grad():
        return classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits.argmax(dim=1).tolist()


def test_the_words_that_differ_are_found_by_who_knows_them(make_tiny, oracle, predicted):
    report = evaluate_minimal_pairs(make_tiny(), pairs(predicted), oracle)
    table = report.table.set_index("attribution")
    assert table.loc["oracle", ["precision", "mean_rank", "edited"]].tolist() == [1, 1, 1]
    assert table.loc["inverse", "precision"] == 0
    assert table["examples"].tolist() == [5] * 3  # from "the film" nothing was taken that it could show
    assert table[["pairs", "counted", "accuracy"]].to_numpy().tolist() == [[3, 1, 1]] * 3


def test_pairs_that_the_model_gets_wrong_are_left_out(make_tiny, oracle, predicted):
    labels = [1 - predicted[0], *predicted[1:]]
    report = evaluate_minimal_pairs(make_tiny(), pairs(labels), ["oracle"])
    assert report.settings["counted"] == pytest.approx(2 / 3)
    assert report.examples["example"].tolist() == [3, 4, 5]  # the rows of the data, whichever pairs are counted
    with pytest.raises(UserError, match="classifies both members of no pair correctly"):
        evaluate_minimal_pairs(make_tiny(), pairs([1 - label for label in predicted]), ["oracle"])


def test_data_without_pairs_is_refused(make_tiny):
    with pytest.raises(UserError, match="the data has no column 'pair', only: text, label, tokens, rationale"):
        evaluate_minimal_pairs(make_tiny(), ROWS, ["random"])
    with pytest.raises(UserError, match="no two rows have the same 'pair'"):
        evaluate_minimal_pairs(make_tiny(), ROWS.add_column("pair", [None] * 5), ["random"])


def test_the_edits_of_every_pair_of_the_reviews_account_for_the_difference():
    frame = pd.concat(split.to_pandas() for split in load_data("reviews").values())
    for _, group in frame.groupby("pair"):
        first, second = (list(tokens) for tokens in group["tokens"])
        marks = edited_words(first, second)
        assert any(marks[0]) or any(marks[1])
        kept = [
            [token for token, mark in zip(*member, strict=True) if not mark]
            for member in zip((first, second), marks, strict=True)
        ]
        assert kept[0] == kept[1]
        assert len(kept[0]) >= len(first) / 2


# Real data


@pytest.mark.parametrize("name", ["reviews", "eraser_movies", "tweet_sentiment"])
def test_real_rationales(request, minilm, name):
    if name != "reviews" and not (request.getfixturevalue("real_data") / name).is_dir():
        pytest.skip(f"REGEX_DATA has no folder {name}")
    rows = load_data(name)["test"].select(range(4))
    table = evaluate_plausibility(minilm, rows, ["random", "attention"]).table
    assert table["examples"].tolist() == [4, 4]
    assert table["unread"].tolist() == [0, 0]
    assert table[["token_f1", "iou_f1", "auprc"]].to_numpy().min() >= 0
    assert table["auprc"].max() <= 1
