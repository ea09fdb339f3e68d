import pytest
import tokenizers
import torch
import transformers

from regex_lib.errors import UserError
from regex_lib.models import TextClassifier


def content_of(classifier, text):
    batch = classifier.tokenize([text])
    return classifier.tokenizer.convert_ids_to_tokens(batch.input_ids[batch.content_mask])


@pytest.fixture
def bytes_classifier():
    """A tiny RoBERTa whose tokens are single bytes."""
    vocabulary = ["<s>", "<pad>", "</s>", "<mask>", *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())]
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({token: i for i, token in enumerate(vocabulary)}, []))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", cls_token="<s>", sep_token="</s>", mask_token="<mask>"
    )
    config = transformers.RobertaConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=32,
        max_position_embeddings=34,
    )  # fmt: skip
    return TextClassifier(transformers.RobertaForSequenceClassification(config).eval(), tokenizer)


def test_padding_is_on_the_right_whatever_the_tokenizer_prefers(tiny):
    tiny.tokenizer.padding_side = "left"
    batch = tiny.tokenize(["a fine film", "dull"])
    assert batch.attention_mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert batch.input_ids[1, 3:].tolist() == [tiny.pad_id] * 2


def test_content_is_neither_special_nor_padding(tiny):
    batch = tiny.tokenize(["a fine film", "dull"])
    assert batch.content_mask.tolist() == [[False, True, True, True, False], [False, True, False, False, False]]


def test_offsets_point_into_the_text(tiny):
    text = "a  fine film"
    batch = tiny.tokenize([text, "a fine film not dull"])
    assert [text[start:end] for start, end in batch.offsets[0]] == ["", "a", "fine", "film", "", "", ""]


@pytest.mark.parametrize("text", ["", "   ", "[SEP]", "[CLS] [SEP] [PAD]"])
def test_a_text_of_special_tokens_only_has_no_content(make_tiny, text):
    assert not make_tiny("bert").tokenize([text]).content_mask.any()


def test_a_literal_separator_in_a_text_is_not_content(minilm):
    assert content_of(minilm, "fine [SEP] film") == ["fine", "film"]


def test_a_literal_separator_of_another_family_is_content(make_tiny):
    assert content_of(make_tiny("roberta"), "fine [SEP] film") == ["fine", "<unk>", "<unk>", "<unk>", "film"]


def test_the_mask_token_in_a_text_is_content(minilm):
    assert content_of(minilm, "a [MASK] film") == ["a", "[MASK]", "film"]


def test_an_unknown_word_is_content(tiny):
    assert content_of(tiny, "a zyzzyva film") == ["a", tiny.tokenizer.unk_token, "film"]


def test_unicode_offsets_count_characters(minilm):
    text = "Café 🎬 naïve"
    batch = minilm.tokenize([text])
    pieces = [text[a:b] for (a, b), counts in zip(batch.offsets[0], batch.content_mask[0], strict=True) if counts]
    assert "".join(pieces) == "Café🎬naïve"


@pytest.mark.parametrize(("words", "is_cut"), [(1, False), (4, False), (5, True), (40, True)])
def test_a_text_is_truncated_exactly_when_its_tokens_do_not_fit(tiny, words, is_cut):
    batch = tiny.tokenize(["film " * words], max_length=6)
    assert batch.truncated == [is_cut]
    assert batch.content_mask.sum() == min(words, 4)


@pytest.mark.parametrize("tail", ["   ", "\n\t ", "\u200b", "\x00\x07"])
def test_what_the_tokenizer_drops_anyway_does_not_count_as_truncated(minilm, tail):
    assert minilm.tokenize(["film" + tail], max_length=3).truncated == [False]


def test_a_character_cut_in_its_middle_is_truncated(bytes_classifier):
    text = "ok 🎬"  # three bytes, and four of the clapper board
    assert bytes_classifier.tokenize([text], max_length=9).truncated == [False]
    assert bytes_classifier.tokenize([text], max_length=8).truncated == [True]


def test_truncation_is_told_per_text(tiny):
    assert tiny.tokenize(["film " * 9, "film"], max_length=6).truncated == [True, False]


def test_the_models_maximum_is_the_default_length(tiny):
    assert tiny.max_length == 32
    assert tiny.tokenize(["film " * 50]).input_ids.shape == (1, 32)


@pytest.mark.parametrize("max_length", [-1, 0, 2, 33])
def test_a_length_that_the_model_does_not_have_is_refused(tiny, max_length):
    with pytest.raises(UserError, match=f"max_length must be between 3 and the model's 32, got {max_length}"):
        tiny.tokenize(["a film"], max_length=max_length)


def test_the_maximum_is_a_length_that_the_model_can_run(tiny):
    batch = tiny.tokenize(["film " * 50])
    assert torch.isfinite(tiny(tiny.embed(batch.input_ids), batch.attention_mask).logits).all()


def test_a_text_without_brackets_is_refused(tiny):
    with pytest.raises(UserError, match="texts must be a list of texts, got a single one: put it into brackets"):
        tiny.tokenize("fine")


def test_a_tokenizer_without_a_mask_masks_with_padding(make_tiny):
    classifier = make_tiny()
    classifier.tokenizer.mask_token = None
    assert classifier.mask_id == classifier.pad_id


# Decoders' tokenizers


def test_a_decoder_without_special_tokens_counts_every_token(make_tiny):
    batch = make_tiny("gpt2").tokenize(["a fine film", "dull"])
    assert batch.content_mask.tolist() == [[True] * 3, [True, False, False]]
    assert torch.equal(batch.content_mask, batch.attention_mask)


def test_the_token_that_begins_a_sequence_is_not_content(make_tiny):
    batch = make_tiny("llama").tokenize(["a fine film", "dull"])
    assert batch.content_mask.tolist() == [[False, True, True, True], [False, True, False, False]]


@pytest.mark.parametrize("texts", [[""], ["", "a film"], ["", ""]])
def test_a_text_without_tokens_is_one_attended_padding_token(make_tiny, texts):
    classifier = make_tiny("gpt2")
    batch = classifier.tokenize(texts)
    assert batch.attention_mask[0].tolist() == [True] + [False] * (batch.input_ids.shape[1] - 1)
    assert batch.input_ids[0, 0] == classifier.pad_id
    assert not batch.content_mask[0].any()
    assert batch.offsets[0] == [(0, 0)] * batch.input_ids.shape[1]
    assert torch.isfinite(classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits).all()


def test_an_unknown_word_that_is_also_the_padding_is_content(make_tiny):
    classifier = make_tiny("llama")
    classifier.tokenizer.pad_token = classifier.tokenizer.unk_token
    assert classifier.tokenize(["a zyzzyva", "a"]).content_mask.tolist() == [[False, True, True], [False, True, False]]


def test_the_end_of_a_sequence_that_is_also_the_padding_is_not_content(make_tiny):
    classifier = make_tiny("gpt2")
    classifier.tokenizer.pad_token = classifier.tokenizer.eos_token
    assert content_of(classifier, "a film<|endoftext|>") == ["a", "film"]
    assert classifier.tokenize(["a film", "a"]).attention_mask.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize(
    "spaces",
    [
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        tokenizers.pre_tokenizers.Metaspace(),
        tokenizers.pre_tokenizers.Metaspace(split=False),
    ],
)
def test_offsets_leave_out_the_space_that_is_counted_into_a_token(make_tiny, spaces):
    mark = "Ġ" if isinstance(spaces, tokenizers.pre_tokenizers.ByteLevel) else "▁"
    pieces = ["fine", f"{mark}fine", f"{mark}film", mark, "s"]
    model = tokenizers.models.Unigram([("<unk>", -9.0), ("<pad>", -9.0), *((p, -1.0) for p in pieces)], unk_id=0)
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = spaces
    classifier = make_tiny("gpt2")
    classifier.tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>"
    )
    text = "fine  films"
    batch = classifier.tokenize([text])
    assert [text[start:stop] for start, stop in batch.offsets[0]][-2:] == ["film", "s"]
    assert [text[start:stop].strip() for start, stop in batch.offsets[0]] == ["fine", "", "film", "s"]
