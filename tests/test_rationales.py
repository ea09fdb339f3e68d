"""Rationales as texts, and classifiers that read nothing else."""

import math

import datasets
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.unchecked import without_type_checks
from typer.testing import CliRunner

import regex_lib
from regex_lib.attributions import METHODS, Explanation, attribute
from regex_lib.cli import app
from regex_lib.cli.rationales import _encoder
from regex_lib.data import load_data
from regex_lib.errors import UserError
from regex_lib.evaluation import classify
from regex_lib.models import load_classifier
from regex_lib.rationales import extract_rationales, rationale_spans, select_then_predict
from regex_lib.training import train

TEXTS = ["a fine film", "dull and very bad acting", "great plot", "never", "not great not bad", "a dull film"] * 3
ROWS = datasets.Dataset.from_dict({"text": TEXTS, "label": [1, 0, 1, 0, 1, 0] * 3})
DATA = {"train": ROWS, "test": ROWS.select(range(6))}
many = settings(deadline=None, max_examples=60)


def explanation_of(text, scores):
    offsets, place = [], 0
    for word in text.split():
        place = text.index(word, place)
        offsets.append((place, place + len(word)))
        place += len(word)
    return Explanation(text, "attention", offsets, scores, 1, 1, 0.9, truncated=False)


# Where rationales stand

SCORES = st.lists(st.integers(-4, 4).map(lambda score: score / 4), min_size=1, max_size=9)


@many
@given(SCORES, st.integers(1, 100))
def test_the_highest_words_stay_in_their_order(scores, percent):
    text = " ".join(f"w{number}" for number in range(len(scores)))
    explanation = explanation_of(text, scores)
    spans = rationale_spans(explanation, percent / 100)
    k = math.ceil(percent * len(scores) / 100 - 1e-6)
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    assert spans == [explanation.offsets[place] for place in sorted(order[:k])]


@many
@given(SCORES, st.integers(1, 100))
def test_no_stretch_of_that_length_has_a_higher_sum(scores, percent):
    text = "  ".join(f"w{number}" for number in range(len(scores)))
    explanation = explanation_of(text, scores)
    ((start, end),) = rationale_spans(explanation, percent / 100, contiguous=True)
    inside = [place for place, (a, b) in enumerate(explanation.offsets) if start <= a and b <= end]
    k = math.ceil(percent * len(scores) / 100 - 1e-6)
    assert inside == list(range(inside[0], inside[0] + k))
    sums = [sum(scores[first : first + k]) for first in range(len(scores) - k + 1)]
    assert inside[0] == sums.index(max(sums))


# As data sets


@pytest.mark.parametrize("contiguous", [False, True])
def test_rationales_are_pieces_of_their_texts(minilm, contiguous):
    rows = load_data("reviews")["test"].select(range(20))
    kept = extract_rationales(minilm, rows, "input_x_gradient", 0.3, contiguous)
    assert kept["label"][:] == rows["label"][:]
    for text, row in zip(rows["text"], kept, strict=True):
        assert row["text"] == " ".join(text[start:end] for start, end in row["spans"])
        assert row["spans"] == sorted(row["spans"])
        assert not contiguous or row["text"] in text
        assert 0 < len(row["text"]) < len(text)


def test_words_get_the_sum_of_their_tokens_and_punctuation_is_a_word(minilm):
    text = "An unhurried, quiet film."
    (explanation,) = attribute(minilm, [text], "input_x_gradient")
    words = explanation.words()
    assert [word for word, _ in words] == ["An", "unhurried", ",", "quiet", "film", "."]
    rows = datasets.Dataset.from_dict({"text": [text], "label": [1]})
    best = max(words, key=lambda word: word[1])[0]
    assert extract_rationales(minilm, rows, "input_x_gradient", 0.1)["text"][:] == [best]
    everything = extract_rationales(minilm, rows, "input_x_gradient", 1.0)
    assert everything["text"][:] == ["An unhurried , quiet film ."]
    assert extract_rationales(minilm, rows, "input_x_gradient", 1.0, True)["text"][:] == [text]


def test_only_what_the_model_reads_can_be_selected(minilm):
    rows = datasets.Dataset.from_dict({"text": ["fine film " * 20], "label": [1]})
    kept = extract_rationales(minilm, rows, "random", 0.5, max_length=10)
    assert len(kept["spans"][0]) == 4  # of eight tokens
    assert kept["spans"][0][-1][1] <= len("fine film " * 4)


def test_a_text_without_words_stays(minilm):
    rows = datasets.Dataset.from_dict({"text": ["\u200b", "fine film"], "label": [1, 0]})
    (explanation, _) = attribute(minilm, rows["text"][:], "random")
    assert not explanation.scores
    assert extract_rationales(minilm, rows, "random", 0.5)["text"][0] == "\u200b"


def test_texts_need_no_label(make_tiny):
    kept = extract_rationales(make_tiny(), ROWS.remove_columns("label"), "random", 0.4)
    assert kept.column_names == ["text", "spans", "words"]
    assert kept["text"][:] == extract_rationales(make_tiny(), ROWS, "random", 0.4)["text"][:]


def test_options_reach_the_method(make_tiny):
    kept = [extract_rationales(make_tiny(), ROWS, "random", 0.4, seed=seed)["text"][:] for seed in (1, 1, 2)]
    assert kept[0] == kept[1] != kept[2]


@pytest.mark.parametrize("ratio", [0.0, 1.1])
def test_a_ratio_out_of_range_is_refused(make_tiny, ratio):
    with pytest.raises(UserError, match=f"ratio must be above 0 and at most 1, got {ratio}"):
        extract_rationales(make_tiny(), ROWS, "random", ratio)


def test_it_is_a_public_name():
    assert regex_lib.extract_rationales is extract_rationales


# Select, then predict

QUICK = {"epochs": 6.0, "batch_size": 4, "learning_rate": 1e-2}
TELLING = ("great", "fine", "dull", "bad")


@pytest.fixture
def knowing(monkeypatch):
    """An attribution that knows the words that tell the class, and one that picks the others."""

    def telling(classifier, batch, target):
        return torch.isin(batch.input_ids, torch.tensor(classifier.tokenizer.convert_tokens_to_ids(TELLING))).float()

    monkeypatch.setitem(METHODS, "telling", telling)
    monkeypatch.setitem(METHODS, "silent", lambda *arguments: -telling(*arguments))


@pytest.fixture
def sentences():
    """The class is in one word of five."""
    generator = torch.Generator().manual_seed(0)
    fillers = ("a", "film", "once", "the", "of", "and", "but", "plot", "acting")
    texts, labels = [], []
    for number in range(100):
        words = [fillers[i] for i in torch.randint(0, len(fillers), (5,), generator=generator).tolist()]
        words[number % 5] = ("dull", "great")[number // 5 % 2]
        texts.append(" ".join(words))
        labels.append(number // 5 % 2)
    rows = datasets.Dataset.from_dict({"text": texts, "label": labels})
    return {"train": rows.select(range(60)), "test": rows.select(range(60, 100))}


def test_a_classifier_learns_from_rationales_that_tell_and_from_no_others(make_tiny, sentences, knowing):
    support = make_tiny(layers=1)
    train(support, sentences, "vanilla", **QUICK)
    other = {"shorter": sentences["test"].select(range(10))}
    table = select_then_predict(
        support, sentences, lambda seed: make_tiny(layers=1, seed=seed), ["telling", "silent"], ratio=0.2,
        out_of_domain=other, **QUICK,
    )  # fmt: skip
    assert table[["attribution", "data", "examples"]].to_numpy().tolist() == [
        ["telling", "test", 40],
        ["telling", "shorter", 10],
        ["silent", "test", 40],
        ["silent", "shorter", 10],
    ]
    scores = table.set_index(["attribution", "data"])
    assert scores.loc[("telling", "test"), "macro_f1"] == 1
    assert scores.loc[("silent", "test"), "macro_f1"] < 0.8
    assert set(table["words"]) == {1.0}
    assert set(table["train_texts"]) == {60}
    for name, rows in {"test": sentences["test"], **other}.items():
        full = classify(support, rows)
        for attribution in ("telling", "silent"):
            assert scores.loc[(attribution, name), "full_text_macro_f1"] == full["macro_f1"]
            assert scores.loc[(attribution, name), "full_text_accuracy"] == full["accuracy"]


def test_rationales_are_kept_where_they_can_be_loaded(make_tiny, tmp_path):
    support = make_tiny(layers=1)
    select_then_predict(
        support, DATA, lambda seed: make_tiny(layers=1, seed=seed), ["attention"], ratio=0.4, output_dir=tmp_path,
        out_of_domain={"reviews:films": ROWS.select(range(2))}, max_train=7, epochs=1.0,
    )  # fmt: skip
    assert {file.name for file in (tmp_path / "attention").iterdir()} == {
        "train.parquet", "test.parquet", "reviews-films.parquet"
    }  # fmt: skip
    kept = load_data(tmp_path / "attention")
    assert len(kept["train"]) == 7
    assert kept["test"]["text"][:] == extract_rationales(support, DATA["test"], "attention", 0.4)["text"][:]


def test_what_is_missing_is_told(make_tiny, tmp_path):
    with pytest.raises(UserError, match="there is no split 'test', only: train"):
        select_then_predict(make_tiny(), {"train": ROWS}, make_tiny)
    with pytest.raises(UserError, match="max_train must be 1 or more, got 0"):
        select_then_predict(make_tiny(), DATA, make_tiny, max_train=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write '.*file/random/train\.parquet'"):
        select_then_predict(make_tiny(), DATA, lambda seed: make_tiny(seed=seed), output_dir=tmp_path / "file")


@pytest.mark.parametrize("empty", ["", "  ", "[SEP]"])
def test_texts_without_content_are_left_out_of_every_split(make_tiny, empty):
    def table_of(data, elsewhere):
        support = make_tiny(layers=1)
        return select_then_predict(
            support, data, lambda seed: make_tiny(layers=1, seed=seed), ["attention"], ratio=0.4,
            out_of_domain={"elsewhere": elsewhere}, epochs=1.0,
        )  # fmt: skip

    def with_empty(rows):
        return datasets.Dataset.from_dict({"text": [empty, *rows["text"], empty], "label": [0, *rows["label"], 1]})

    expected = table_of(DATA, ROWS.select(range(4)))
    found = table_of({name: with_empty(rows) for name, rows in DATA.items()}, with_empty(ROWS.select(range(4))))
    assert found["examples"].tolist() == [6, 4]
    assert found["train_texts"].tolist() == [18, 18]
    pd.testing.assert_frame_equal(found, expected)


def test_data_without_any_content_are_refused_before_any_training(make_tiny):
    nothing = datasets.Dataset.from_dict({"text": ["", "[SEP]"], "label": [0, 1]})
    for data, other in (({**DATA, "train": nothing}, {}), (DATA, {"elsewhere": nothing})):
        name = "elsewhere" if other else "train"
        with pytest.raises(UserError, match=f"no text of {name!r} has content tokens"):
            select_then_predict(make_tiny(), data, no_training, out_of_domain=other)


def test_a_reader_that_is_trained_already_is_refused_before_any_training(make_tiny, tmp_path, monkeypatch):
    make_tiny().save(tmp_path / "trained")
    monkeypatch.setattr("regex_lib.rationales.train", no_training)
    with pytest.raises(UserError, match="the new classifier's checkpoint has a classification head already"):
        select_then_predict(make_tiny(), DATA, lambda seed: load_classifier(tmp_path / "trained", seed=seed))


@pytest.mark.parametrize("contiguous", [False, True])
def test_words_are_counted_as_they_are_selected(make_tiny, minilm, contiguous):
    rows = datasets.Dataset.from_dict({"text": ["fine, film! really, very-good.", "\u200b"], "label": [1, 0]})
    assert extract_rationales(minilm, rows, "random", 0.75, contiguous)["words"][:] == [6, 0]
    data = {"train": rows.select([0]), "test": rows.select([0])}
    table = select_then_predict(
        make_tiny(), data, lambda seed: make_tiny(seed=seed), ["random"], ratio=0.75, contiguous=contiguous, epochs=1.0
    )
    assert table["words"].tolist() == [6.0]


def no_training(seed):
    raise AssertionError("nothing should be trained")


@pytest.mark.parametrize(
    ("attributions", "options", "message"),
    [
        ("random", None, "attributions must be a list of names, got 'random': put it into brackets"),
        (["random", "atention"], None, "unknown attribution 'atention': did you mean 'attention'"),
        (["random"], {"integrated_gradient": {}}, "unknown attribution 'integrated_gradient': did you mean"),
        (["random"], {"integrated_gradients": {"steps": 3}}, "unknown integrated_gradients option 'steps'"),
    ],
)
def test_wrong_names_are_told_before_any_training(make_tiny, attributions, options, message):
    with without_type_checks(), pytest.raises(UserError, match=message):
        select_then_predict(make_tiny(), DATA, no_training, attributions, options=options)


@pytest.mark.parametrize("name", ["test", "train", "validation", "../elsewhere", "..\\elsewhere", ""])
def test_a_name_that_would_take_the_place_of_another_set_is_refused(make_tiny, name):
    with pytest.raises(UserError, match=r"out_of_domain cannot name a set '.*': take a name that is no split's"):
        select_then_predict(make_tiny(), DATA, no_training, out_of_domain={name: ROWS})


def test_splits_are_taken_as_tables_too(make_tiny):
    def table_of(data):
        return select_then_predict(
            make_tiny(layers=1), data, lambda seed: make_tiny(layers=1, seed=seed), ["attention"], epochs=1.0,
            max_train=7, out_of_domain={"elsewhere": data["test"]},
        )  # fmt: skip

    expected = table_of(DATA)
    pd.testing.assert_frame_equal(table_of({name: rows.to_pandas() for name, rows in DATA.items()}), expected)
    pd.testing.assert_frame_equal(table_of({name: rows.with_format("torch") for name, rows in DATA.items()}), expected)


# The command


@pytest.fixture
def run(make_tiny, tmp_path):
    """A folder that a training wrote, started from a model in another folder."""
    encoder = tmp_path / "encoder"
    headed = make_tiny(layers=1)
    headed.model.base_model.save_pretrained(encoder)
    headed.tokenizer.save_pretrained(encoder)
    support = load_classifier(encoder)
    support.label_names = ("negative", "positive")
    provenance = {"data": "tiny", "model": str(encoder), "layers": None}
    train(support, DATA, "vanilla", tmp_path / "run", epochs=1.0, provenance=provenance)
    for name, rows in DATA.items():
        (tmp_path / "data").mkdir(exist_ok=True)
        rows.to_csv(tmp_path / "data" / f"{name}.csv")
    return tmp_path


def command(*arguments):
    return CliRunner().invoke(app, ["rationales", *map(str, arguments)], catch_exceptions=True)


def test_the_command_prints_both_scores_and_writes_the_rationales(run):
    options = ("--attribution", "attention", "--ratio", 0.4, "--epochs", 1, "--output", run / "out")
    result = command(run / "run", "--data", run / "data", *options)
    assert result.exit_code == 0, result.exception
    table = pd.read_csv(run / "out" / "rationales.csv")
    assert table[["attribution", "data", "ratio"]].to_numpy().tolist() == [["attention", "test", 0.4]]
    assert result.output.splitlines()[0] == (
        f"{run / 'data'}, macro-F1 over the model's 2 classes (accuracy): "
        f"{table['macro_f1'][0]:.3f} ({table['accuracy'][0]:.3f}) of rationales by attention, "
        f"{table['words'][0]:.1f} words a text, "
        f"{table['full_text_macro_f1'][0]:.3f} ({table['full_text_accuracy'][0]:.3f}) of full texts"
    )
    support = load_classifier(run / "run")
    assert table["full_text_macro_f1"][0] == classify(support, DATA["test"])["macro_f1"]
    expected = extract_rationales(support, DATA["test"], "attention", 0.4)
    assert load_data(run / "out" / "attention")["test"]["text"][:] == expected["text"][:]


def test_the_command_reads_other_domains(run):
    options = ("--attribution", "random", "--epochs", 1, "--max-test", 3, "--out-of-domain", "reviews:films")
    result = command(run / "run", "--data", run / "data", *options)
    assert result.exit_code == 0, result.exception
    assert [line.split(",")[0] for line in result.output.splitlines()] == [str(run / "data"), "reviews:films"]


def test_the_command_says_that_a_stand_in_is_one(run, monkeypatch):
    (run / "data").rename(run / "amaz_music_mdsd")
    monkeypatch.setenv("REGEX_DATA", str(run))
    options = ("--attribution", "random", "--epochs", 1, "--out-of-domain", "amaz_music_mdsd")
    result = command(run / "run", "--data", "reviews:films", "--max-train", 9, *options)
    assert result.exit_code == 0, result.exception
    (note,) = result.output.splitlines()[2:]
    assert note == (
        f"amaz_music_mdsd is {run / 'amaz_music_mdsd' / 'test.csv'}; it should be: Multi-Domain Sentiment Dataset, "
        "music; a stand-in for amaz_digimu, not Digital Music"
    )


@pytest.mark.parametrize(
    ("model", "layers", "expected"),
    [
        (None, None, ("minilm", 3)),
        ("minilm", None, ("minilm", 3)),  # the run's own, named again
        ("bert", None, ("bert", None)),
        ("minilm", 2, ("minilm", 2)),
        (None, 2, ("minilm", 2)),
    ],
)
def test_the_new_classifier_has_the_layers_of_the_run_unless_it_is_another_model(
    make_tiny, tmp_path, model, layers, expected
):
    train(make_tiny(), DATA, "vanilla", tmp_path, epochs=0.1, provenance={"model": "minilm", "layers": 3})
    assert tuple(_encoder(tmp_path, model, layers).values()) == expected


def test_the_command_says_what_is_wrong(run, make_tiny):
    for options, message in (
        (("--ratio", 0), "ratio must be above 0 and at most 1, got 0.0"),
        (("--attribution", "atention"), "did you mean 'attention'"),
        (("--out-of-domain", "reviewz"), "unknown data set 'reviewz'"),
    ):
        assert message in str(command(run / "run", "--data", run / "data", *options).exception)
    make_tiny().save(run / "plain")
    result = command(run / "plain", "--data", run / "data")
    assert "does not say which encoder it was trained from: name it with --model" in str(result.exception)
    result = command(run / "plain", "--data", run / "data", "--model", run / "plain")  # which knows the full texts
    assert "name the encoder that it was made from" in str(result.exception)
