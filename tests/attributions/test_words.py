"""Words of a text from the offsets of three kinds of tokenizers, and their scores."""

import itertools
import re
from collections import Counter

import pytest
import tokenizers
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from regex_lib.attributions import Words, attribute, word_scores, words_of
from regex_lib.checks.reading import align
from regex_lib.errors import UserError
from regex_lib.evaluation.removals import Features
from regex_lib.rationales import rationale_spans

CORPUS = [
    "A touching, unhurried film that isn't afraid to be well-made.",
    "The plot makes no sense; the acting, even less so... Unbelievable!",
    "I don't know what's worse: the script or the over-acting.",
    "[&] film_noir (1234567890) $ ? c",
]
TEXTS = [
    "An unhurried film, isn't it?",
    "  Well-made & touching...  (really!)",
    "the co-director's film_noir of 1999 cost $3.50",
    "Unbelievable",
    "word",
]


def written_words(text):
    """The definition as a regular expression, for text in Latin script."""
    return [match.span() for match in re.finditer(r"\w+(?:['-]\w+)*|[^\w\s]+", text)]


def bert(tokenizer=None):
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]"])
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]")


def byte_level(trim_offsets):
    """RoBERTa's and GPT-2's kind: a space belongs to the token after it, and its offsets may include it."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>", "</s>"]
        ),
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 1), ("<s>", 0), trim_offsets=trim_offsets, add_prefix_space=False
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def sentence_piece():
    """ALBERT's, T5's and XLM-R's kind: pieces that mark the space before them, and cross punctuation."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=90, special_tokens=["<unk>"], unk_token="<unk>")
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


KINDS = {
    "bert": bert,
    "byte level": lambda: byte_level(True),
    "byte level, spaces in offsets": lambda: byte_level(False),
    "sentence piece": sentence_piece,
}


@pytest.fixture(scope="module", params=list(KINDS))
def tokenizer(request):
    return KINDS[request.param]()


def encoded(tokenizer, text):
    """Offsets and content mask of a text."""
    encoding = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    return encoding["offset_mapping"], [not special for special in encoding["special_tokens_mask"]]


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_those_of_the_text_whatever_the_tokenizer(tokenizer, text):
    offsets, content = encoded(tokenizer, text)
    words = words_of(text, offsets, content)
    assert words.spans == written_words(text)
    assert [number >= 0 for number in words.index] == content


@pytest.mark.parametrize("text", TEXTS)
def test_every_token_is_part_of_its_word(tokenizer, text):
    offsets, content = encoded(tokenizer, text)
    words = words_of(text, offsets, content)
    assert len(offsets) > len(words.spans) or text == "word"
    for (start, end), number in zip(offsets, words.index, strict=True):
        if number >= 0 and text[start:end].strip():
            first, last = words.spans[number]
            assert first <= start + len(text[start:end]) - len(text[start:end].lstrip())
            assert start + len(text[start:end].rstrip()) <= last


def test_real_wordpiece_tokens_become_words(minilm):
    text = "An unhurried film: the co-director's œuvre isn't 映画 🎬!"
    batch = minilm.tokenize([text])
    words = words_of(text, batch.offsets[0], batch.content_mask[0].tolist())
    assert [text[start:end] for start, end in words.spans] == [
        "An", "unhurried", "film", ":", "the", "co-director's", "œuvre", "isn't", "映", "画", "🎬!",
    ]  # fmt: skip


def test_words_agree_with_the_tokenizers_own_where_these_are_defined_alike(minilm):
    """Without apostrophes, hyphens and runs of punctuation, BERT's words are ours."""
    text = "An unhurried, touching film. Never dull!"
    encoding = minilm.tokenizer(text, return_offsets_mapping=True)
    content = [number is not None for number in encoding.word_ids()]
    words = words_of(text, encoding["offset_mapping"], content)
    assert words.index == [-1 if number is None else number for number in encoding.word_ids()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't 'quote' rock-'n'-roll", ["don't", "'", "quote", "'", "rock", "-'", "n", "'-", "roll"]),
        ("l\u2019amour -5 a- -b x--y", ["l\u2019amour", "-", "5", "a", "-", "-", "b", "x", "--", "y"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("cafe\u0301 nai\u0308ve", ["cafe\u0301", "nai\u0308ve"]),
        ("映画は良い", ["映", "画", "は", "良", "い"]),
        ("a\u00a0b\u2003c\n\td", ["a", "b", "c", "d"]),
        ("👍🏽👩\u200d👩 ok", ["👍🏽👩\u200d👩", "ok"]),
        ("x_1=y2", ["x_1", "=", "y2"]),
    ],
)
def test_words_of_single_characters(text, words):
    """As a tokenizer of characters sees them."""
    found = words_of(text, [(i, i + 1) for i in range(len(text))], [True] * len(text))
    assert [text[start:end] for start, end in found.spans] == words


def test_words_that_share_a_token_are_one():
    text = "so bad. Really bad"
    words = words_of(text, [(0, 2), (3, 10), (10, 14), (15, 18)], [True] * 4)
    assert words == Words(spans=[(0, 2), (3, 14), (15, 18)], index=[0, 1, 1, 2])


def test_words_without_tokens_are_left_out():
    text = "a fine film, cut here"
    assert words_of(text, [(0, 1), (2, 6), (7, 9)], [True] * 3).spans == [(0, 1), (2, 6), (7, 11)]
    assert words_of(text, [(0, 1), (2, 6), (7, 11)], [True, False, True]) == Words([(0, 1), (7, 11)], [0, -1, 1])
    assert words_of(text, [(0, 0), (0, 0)], [False, False]) == Words([], [-1, -1])
    assert words_of("", [], []) == Words([], [])


def test_white_space_belongs_to_the_word_that_follows():
    text = "one  two "
    words = words_of(text, [(0, 3), (3, 4), (4, 5), (5, 8), (8, 9)], [True] * 5)
    assert words == Words(spans=[(0, 3), (5, 8)], index=[0, 1, 1, 1, 1])
    assert words_of("  ", [(0, 1), (1, 2)], [True, True]).index == [0, 0]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=12), st.data())
def test_words_are_disjoint_in_order_and_carry_all_of_the_score(text, cuts, data):
    """Whatever pieces a text is cut into, words neither overlap nor lose anything."""
    cuts = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    offsets = list(itertools.pairwise(cuts))
    content = data.draw(st.lists(st.booleans(), min_size=len(offsets), max_size=len(offsets)))
    scores = data.draw(st.lists(st.integers(-9, 9).map(float), min_size=len(offsets), max_size=len(offsets)))
    words = words_of(text, offsets, content)
    for (_, end), (start, _) in zip(words.spans, words.spans[1:], strict=False):
        assert end <= start
    assert sorted(set(words.index) - {-1}) == list(range(len(words.spans))), "every word has a token"
    totals = word_scores(words, scores)
    assert sum(totals) == sum(score for score, counts in zip(scores, content, strict=True) if counts)
    counted = [number for number in words.index if number >= 0]
    assert counted == sorted(counted)


def test_scores_are_summed_by_word():
    words = Words(spans=[(0, 2), (3, 9)], index=[-1, 0, 1, 1, -1])
    assert word_scores(words, [7.0, 0.5, 0.25, -1.0, 7.0]) == [0.5, -0.75]


def test_offsets_beyond_the_text_are_refused():
    with pytest.raises(UserError, match=r"token offsets \(3, 9\) do not fit a text of 5 characters"):
        words_of("words", [(0, 3), (3, 9)], [True, True])
    words_of("words", [(0, 3), (3, 9)], [True, False])


def test_another_number_of_scores_is_refused():
    with pytest.raises(UserError, match="there are 2 tokens but 1 scores"):
        word_scores(Words([(0, 5)], [0, 0]), [1.0])


def test_a_random_ranking_of_words_does_not_depend_on_their_number_of_tokens(minilm):
    """By each way from tokens to words: the share of first places of words of several tokens is their share of all."""
    text = "Unfathomably tedious, yet strangely unputdownable: a dull film, and a bad one, of no use to me or to you."
    batch = minilm.tokenize([text])
    offsets = [tuple(span) for span, counts in zip(batch.offsets[0], batch.content_mask[0], strict=True) if counts]
    words = words_of(text, offsets, [True] * len(offsets))
    several = {word for word, count in Counter(words.index).items() if count > 1}
    features = Features.of(batch, [text], "word")
    first = {"words": 0, "features": 0, "aligned": 0, "rationale": 0, "summed": 0}
    for seed in range(400):
        (explanation,) = attribute(minilm, [text], "random", seed=seed)
        token_scores = torch.zeros(batch.input_ids.shape, dtype=torch.float64)
        token_scores[batch.content_mask] = torch.tensor(explanation.scores, dtype=torch.float64)
        ranked = {
            "words": torch.tensor([score for _, score in explanation.words()]),
            "features": features.scores(token_scores, "random")[0],
            "aligned": align([explanation], [words.spans])[0][0],
            "summed": features.scores(token_scores)[0],
        }
        for name, scores in ranked.items():
            first[name] += int(scores.argmax()) in several
        ((start, _),) = rationale_spans(explanation, 1e-3)
        first["rationale"] += [begin for begin, _ in words.spans].index(start) in several
    share = len(several) / len(words.spans)
    spread = (share * (1 - share) / 400) ** 0.5
    assert first.pop("summed") / 400 > share + 4 * spread  # the test can fail
    for name, count in first.items():
        assert count / 400 == pytest.approx(share, abs=4 * spread), name
