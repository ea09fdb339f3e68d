"""How marked texts are read: words by characters, windows of long texts, and scores on the data's own words."""

import itertools

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference.unchecked import without_type_checks

from regex_lib.attributions import METHODS, Explanation, attribute
from regex_lib.checks.reading import align, explain_texts, padded_marks, predict_texts, token_spans, windows_of
from regex_lib.data import load_data
from regex_lib.errors import UserError
from regex_lib.evaluation import classify

many = settings(deadline=None, max_examples=60)
LONG = "a fine film and never a dull plot but the acting of the film once not great " * 4


def explanation_of(text, offsets, scores, *, truncated=False):
    return Explanation(text, "attention", offsets, scores, 1, 1, 0.9, truncated)


# Words


@many
@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=5), min_size=1, max_size=8))
def test_the_words_between_white_space_are_found_where_they_stand(tokens):
    text = "  ".join(tokens)
    spans = token_spans(text, tokens)
    assert [text[start:end] for start, end in spans] == tokens
    assert spans == sorted(spans)


def test_a_token_that_is_not_in_the_text_is_refused():
    with pytest.raises(UserError, match="the token 'film' is not in the text after character 1: ' fine'"):
        token_spans("A fine", ["A", "film"])


@many
@given(st.integers(1, 12), st.integers(0, 10_000))
def test_scores_are_summed_into_the_words_in_which_tokens_begin(length, seed):
    generator = torch.Generator().manual_seed(seed)
    text = "x" * length
    ends = sorted(set(torch.randint(1, length + 1, (5,), generator=generator).tolist()))
    words = [(start, end) for start, end in zip([0, *ends], ends, strict=False) if (start + seed) % 3]  # with gaps
    cuts = sorted(set(torch.randint(0, length, (6,), generator=generator).tolist()))
    offsets = list(zip(cuts, [*cuts[1:], length], strict=True))
    scores = torch.rand(len(offsets), generator=generator).tolist()
    actual, read = align([explanation_of(text, offsets, scores)], [words])
    for place, (start, end) in enumerate(words):
        inside = [score for (first, _), score in zip(offsets, scores, strict=True) if start <= first < end]
        assert actual[0, place].item() == pytest.approx(sum(inside))
        assert read[0, place].item() == bool(inside)


def test_texts_of_different_lengths_are_padded_with_what_was_not_read():
    explanations = [explanation_of("ab", [(0, 1)], [2.0]), explanation_of("", [], [])]
    scores, read = align(explanations, [[(0, 1), (1, 2)], []])
    assert scores.tolist() == [[2, 0], [0, 0]]
    assert read.tolist() == [[True, False], [False, False]]
    assert padded_marks([[1, 0], []]).tolist() == [[True, False], [False, False]]
    assert padded_marks([]).shape == (0, 0)


# Windows


@many
@given(st.text(st.sampled_from("ab .,-é\n🎬unhurried電"), max_size=120).filter(str.strip), st.integers(3, 12))
@example(" " + "電影很好看" * 4, 6)
def test_windows_hold_the_whole_text_and_each_can_be_read_whole(minilm, text, max_length):
    windows = windows_of(minilm, text, max_length)
    pieces = [text[start:end] for start, end in windows]
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(windows))
    assert all(pieces)
    assert not any(minilm.tokenize([piece], max_length).truncated[0] for piece in pieces)


def test_windows_end_between_words_and_are_as_long_as_they_can_be(minilm):
    words = ["unhurried"] * 10  # three tokens each
    windows = windows_of(minilm, " ".join(words), 9)
    assert [end - start for start, end in windows] == [len("unhurried unhurried")] * 5


def test_a_short_text_is_one_window(minilm):
    assert windows_of(minilm, " fine \n") == [(0, 7)]


def test_a_word_that_is_too_long_is_divided(minilm):
    text = "film " + "unhurried" * 6 + " film"
    windows = windows_of(minilm, text, 6)
    assert text[slice(*windows[0])] == "film"
    assert len(windows) >= 4


def test_a_long_word_after_white_space_is_explained(minilm):
    text = " \n" + "電影很好看" * 300
    (explanation,) = explain_texts(minilm, [text], ["attention"])["attention"]
    assert "".join(explanation.tokens) == text.strip()


def test_no_more_of_a_long_text_is_tokenized_than_its_windows_need(minilm, monkeypatch):
    text = "an unhurried film " * 400 + "電影很好看" * 100 + "x" * 5000 + " film" * 300
    tokenize, lengths = minilm.tokenize, []
    monkeypatch.setattr(
        minilm, "tokenize", lambda texts, length: lengths.append(len(texts[0])) or tokenize(texts, length)
    )
    windows = windows_of(minilm, text, 32)
    assert sum(lengths) < 10 * len(text)  # it would be 59 times, and more for a longer text
    monkeypatch.setattr("regex_lib.checks.reading._TOKENIZED_CHARACTERS", len(text))
    assert windows_of(minilm, text, 32) == windows


def test_windows_without_content_are_passed_over(make_tiny):
    text = "[SEP] [SEP] [SEP] film"
    assert not make_tiny().tokenize([text], 3).content_mask.any()
    pieces = [text[start:end] for start, end in windows_of(make_tiny(), text, 3)]
    assert "".join("".join(pieces).split()) == "".join(text.split())


# Explanations


def test_short_texts_are_explained_as_ever(make_tiny):
    classifier = make_tiny()
    texts = ["a fine film", "dull", "never once great but not bad"]
    for long_texts in ("windows", "truncate"):
        found = explain_texts(classifier, texts, ["integrated_gradients", "random"], long_texts=long_texts)
        for method, explanations in found.items():
            for ours, theirs in zip(explanations, attribute(classifier, texts, method), strict=True):
                assert (ours.offsets, ours.prediction, ours.target) == (
                    theirs.offsets,
                    theirs.prediction,
                    theirs.target,
                )
                assert ours.scores == pytest.approx(theirs.scores, abs=1e-6)
                assert ours.probability == pytest.approx(theirs.probability)


def test_windows_are_explained_towards_the_class_of_the_whole(make_tiny):
    classifier = make_tiny()
    windows = windows_of(classifier, LONG, 12)
    assert len(windows) > 4
    pieces = [LONG[start:end] for start, end in windows]
    probabilities = predict_texts(classifier, pieces, max_length=12)
    target = int(probabilities.mean(dim=0).argmax())
    (whole,) = explain_texts(classifier, [LONG], ["input_x_gradient"], max_length=12)["input_x_gradient"]
    assert whole.prediction == whole.target == target
    assert whole.probability == pytest.approx(float(probabilities.mean(dim=0).max()))
    assert not whole.truncated
    assert whole.tokens == LONG.split()
    parts = attribute(classifier, pieces, "input_x_gradient", target=target, max_length=12)
    assert whole.scores == pytest.approx([score for part in parts for score in part.scores], abs=1e-6)


def test_a_cut_text_has_no_scores_beyond_the_cut(make_tiny):
    found = explain_texts(make_tiny(), [LONG], ["random"], long_texts="truncate", max_length=12)["random"][0]
    assert found.truncated
    assert found.tokens == LONG.split()[:10]


def test_options_reach_their_method(make_tiny, monkeypatch):
    seen = {}
    monkeypatch.setitem(
        METHODS, "mine", lambda c, batch, target, **options: seen.update(options) or batch.input_ids * 1.0
    )
    explain_texts(make_tiny(), ["a film"], ["mine"], options={"mine": {"n": 3}, "random": {"seed": 1}})
    assert seen == {"n": 3}


def test_a_method_may_have_a_batch_size_of_its_own(make_tiny):
    texts = ["a fine film", "dull", "never once great"]
    options = {"leave_one_out": {"batch_size": 1}}
    alone, together = (explain_texts(make_tiny(), texts, ["leave_one_out"], options=o) for o in (options, None))
    for ours, theirs in zip(alone["leave_one_out"], together["leave_one_out"], strict=True):
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-6)


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        (["random"], {"randm": {"seed": 1}}, "unknown attribution 'randm': did you mean 'random'"),
        (["random"], {"random": {"sed": 1}}, "unknown random option 'sed': did you mean 'seed'"),
        (["random"], {"smooth_grad": {"n_sample": 1}}, "unknown smooth_grad option 'n_sample': did you mean"),
        ("random", {}, "attributions must be a list of names, got 'random': put it into brackets"),
    ],
)
def test_methods_and_options_that_are_not_known_are_refused(make_tiny, methods, options, message):
    with pytest.raises(UserError, match=message):
        explain_texts(make_tiny(), ["a fine film"], methods, options=options)


def test_every_method_takes_a_batch_size(make_tiny):
    alone, plain = (
        explain_texts(make_tiny(), ["a fine film"], ["attention"], options=options)
        for options in ({"attention": {"batch_size": 1}}, None)
    )
    assert alone == plain


def test_wrong_input_is_refused(make_tiny):
    with without_type_checks(), pytest.raises(UserError, match="long_texts must be 'windows' or 'truncate', got 'cut'"):
        explain_texts(make_tiny(), ["a"], ["random"], long_texts="cut")
    with pytest.raises(UserError, match="text 1 is empty"):
        explain_texts(make_tiny(), ["a", " "], ["random"])


def test_predictions_are_those_of_the_classifier_in_the_order_of_the_texts(make_tiny):
    classifier = make_tiny()
    rows = load_data("reviews")["test"].select(range(30))
    right = predict_texts(classifier, rows["text"][:], batch_size=7, max_length=20).argmax(dim=1)
    accuracy = (right == torch.tensor(rows["label"][:])).double().mean().item()
    assert accuracy == pytest.approx(classify(classifier, rows, max_length=20)["accuracy"])


# Real data


def test_human_rationales_of_long_reviews_stay_aligned(real_data, minilm):
    if not (real_data / "eraser_movies").is_dir():
        pytest.skip("REGEX_DATA has no folder eraser_movies")
    rows = load_data("eraser_movies")["test"].select(range(6)).to_list()
    texts = [row["text"] for row in rows]
    spans = [token_spans(row["text"], row["tokens"]) for row in rows]
    for row, words in zip(rows, spans, strict=True):
        assert [row["text"][start:end] for start, end in words] == row["tokens"]
    length = max(len(row["tokens"]) for row in rows)
    assert length > 600  # longer than a model of 512 tokens takes
    _, read = align(explain_texts(minilm, texts, ["random"])["random"], spans)
    assert torch.equal(read, padded_marks([[1] * len(words) for words in spans]))
    _, cut = align(explain_texts(minilm, texts, ["random"], long_texts="truncate")["random"], spans)
    assert cut.sum() < 0.8 * read.sum()
    assert all(row.tolist() == sorted(row.tolist(), reverse=True) for row in cut)  # a beginning, without holes
