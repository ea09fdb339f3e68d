import copy

import pytest
import tokenizers
import torch
import transformers
from reference.unchecked import without_type_checks
from torch.testing import assert_close

from regex_lib.errors import UserError
from regex_lib.models import TextClassifier

TEXTS = ["a fine film", "dull and very bad acting but a great plot", "never"]


def run(classifier, texts=TEXTS, **options):
    batch = classifier.tokenize(texts)
    return batch, classifier(classifier.embed(batch.input_ids), batch.attention_mask, **options)


def plain_output(model, batch, **options):
    return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask.long(), **options)


def test_logits_do_not_depend_on_whether_attention_is_recorded(tiny):
    _, silent = run(tiny)
    _, recorded = run(tiny, return_attention=True)
    assert_close(recorded.logits, silent.logits, rtol=0, atol=1e-6)


def test_attention_that_was_not_recorded_cannot_be_read(tiny):
    _, output = run(tiny)
    assert output.head_attention is None
    with pytest.raises(ValueError, match="return_attention=True"):
        _ = output.attention


def test_the_fused_kernel_has_no_second_derivative(tiny):
    """Why `double_backward` exists: without it the gradient cannot itself be differentiated."""
    batch = tiny.tokenize(TEXTS)
    embeddings = tiny.embed(batch.input_ids)
    logits = tiny(embeddings, batch.attention_mask).logits
    (gradient,) = torch.autograd.grad(logits.sum(), embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match=r"scaled_dot_product.*not implemented"):
        gradient.square().sum().backward()


def test_forward_func_takes_embeddings_and_mask(tiny):
    batch, output = run(tiny)
    logits = tiny.forward_func()(tiny.embed(batch.input_ids), batch.attention_mask)
    assert_close(logits, output.logits, rtol=0, atol=0)


def test_a_models_own_classes_and_sizes_are_known(make_tiny):
    classifier = make_tiny("roberta", num_labels=3)
    assert classifier.num_labels == 3
    assert classifier.max_length == 32
    assert classifier.device == torch.device("cpu")


def test_a_users_own_model_is_used_in_place_and_computes_what_it_did(tiny, eager_copy):
    model = eager_copy(tiny)
    batch = tiny.tokenize(TEXTS)
    before = plain_output(model, batch).logits
    classifier = TextClassifier(model, tiny.tokenizer)
    assert classifier.model is model
    assert_close(plain_output(model, batch).logits, before, rtol=0, atol=1e-6)
    assert_close(run(classifier)[1].logits, before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", [True, False])
def test_wrapping_a_model_leaves_it_in_its_mode(tiny, mode):
    tiny.model.train(mode)
    wrapped = TextClassifier(tiny.model, tiny.tokenizer)
    assert all(module.training is mode for module in wrapped.modules())


def test_two_classifiers_of_one_process_do_not_hear_each_other(make_tiny):
    first, second = make_tiny(seed=1), make_tiny(seed=2)
    _, alone = run(first, return_attention=True)
    run(second, return_attention=True)
    _, again = run(first, return_attention=True)
    assert_close(again.head_attention, alone.head_attention, rtol=0, atol=0)


def test_a_deep_copy_is_a_classifier_of_its_own(tiny):
    twin = copy.deepcopy(tiny)
    with torch.no_grad():
        twin.model.get_input_embeddings().weight.zero_()
    assert twin.model is not tiny.model
    assert_close(
        run(copy.deepcopy(tiny), return_attention=True)[1].attention, run(tiny, return_attention=True)[1].attention
    )


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_a_model_whose_classes_do_not_exclude_each_other_is_refused(tiny, kind):
    tiny.model.config.problem_type = kind
    with pytest.raises(UserError, match=f"made for {kind}, expected is single_label_classification"):
        TextClassifier(tiny.model, tiny.tokenizer)
    tiny.model.config.problem_type = "single_label_classification"
    assert TextClassifier(tiny.model, tiny.tokenizer).num_labels == 2


@pytest.mark.parametrize("label", ["1", None, 0.6, float("nan"), 2, -1])
def test_labels_that_are_no_classes_are_refused_by_name(make_tiny, label):
    classifier = make_tiny()
    with without_type_checks(), pytest.raises(UserError, match=f"the data has label {label!r}, but the model has 2"):
        classifier.check_labels([0, 1, label, 0])
    classifier.check_labels([0, 1, True])
    classifier.check_labels([])


def test_a_decoder_whose_texts_end_in_padding_is_refused(make_tiny):
    classifier = make_tiny("gpt2")
    tokenizer = classifier.tokenizer
    tokenizer.pad_token = tokenizer.eos_token
    assert TextClassifier(classifier.model, tokenizer).pad_id == tokenizer.eos_token_id
    ending = tokenizers.processors.TemplateProcessing(
        single=["$A", tokenizer.eos_token], special_tokens=[(tokenizer.eos_token, tokenizer.eos_token_id)]
    )
    tokenizer.backend_tokenizer.post_processor = ending
    with pytest.raises(UserError, match=r"ends every text with the padding token '<\|endoftext\|>': .* of its own"):
        TextClassifier(classifier.model, tokenizer)


def test_a_slow_tokenizer_is_refused(tiny):
    with pytest.raises(UserError, match="CanineTokenizer has no character offsets: load its fast version"):
        TextClassifier(tiny.model, transformers.CanineTokenizer())


def test_a_tokenizer_without_padding_is_refused(tiny):
    tiny.tokenizer.pad_token = None
    with pytest.raises(UserError, match=r"no padding token: set tokenizer\.pad_token first"):
        TextClassifier(tiny.model, tiny.tokenizer)


@pytest.mark.parametrize(("name", "attribute"), [("padding", "pad"), ("mask", "mask")])
def test_a_token_that_the_model_does_not_embed_is_refused(tiny, name, attribute):
    rows = tiny.model.get_input_embeddings().num_embeddings
    tiny.tokenizer.add_special_tokens({f"{attribute}_token": "<new>"})
    message = f"{name} token is number {rows}, but the model embeds {rows} tokens: call .*resize_token"
    with pytest.raises(UserError, match=message):
        TextClassifier(tiny.model, tiny.tokenizer)
    tiny.model.resize_token_embeddings(len(tiny.tokenizer), mean_resizing=False)
    assert getattr(TextClassifier(tiny.model, tiny.tokenizer), f"{attribute}_id") == rows


def test_classes_without_a_name_are_numbered(make_tiny):
    classifier = make_tiny()
    classifier.model.config.id2label = {0: "bad", 2: "good"}
    assert classifier.label_names == ["bad", "LABEL_1"]


def test_a_checkpoint_that_asks_for_tuples_is_read_all_the_same(make_tiny):
    plain = make_tiny()
    plain.model.config.return_dict = False
    classifier = TextClassifier(plain.model, plain.tokenizer)
    batch = classifier.tokenize(["fine film"])
    assert classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits.shape == (1, 2)


def test_a_tokenizer_that_does_not_name_its_attention_mask_has_one(make_tiny):
    classifier = make_tiny()
    expected = classifier.tokenize(["fine", "a fine film"])
    classifier.tokenizer.model_input_names = ["input_ids"]
    found = classifier.tokenize(["fine", "a fine film"])
    assert torch.equal(found.attention_mask, expected.attention_mask)
