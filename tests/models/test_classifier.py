import copy

import pytest
import torch
import transformers
from torch.testing import assert_close

from regex_lib.errors import UserError
from regex_lib.models import TextClassifier

TEXTS = ["a fine film", "dull and very bad acting but a great plot", "never"]


def run(classifier, texts=TEXTS, **options):
    batch = classifier.tokenize(texts)
    return batch, classifier(classifier.embed(batch.input_ids), batch.attention_mask, **options)


def plain_output(model, batch, **options):
    return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask.long(), **options)


def test_logits_are_those_of_the_plain_model(tiny, eager_copy):
    batch, output = run(tiny)
    assert_close(output.logits, plain_output(eager_copy(tiny), batch).logits, rtol=0, atol=1e-6)


def test_logits_do_not_depend_on_whether_attention_is_recorded(tiny):
    _, silent = run(tiny)
    _, recorded = run(tiny, return_attention=True)
    assert_close(recorded.logits, silent.logits, rtol=0, atol=1e-6)


def test_the_recorded_row_is_that_of_the_first_token_in_the_last_layer(tiny, eager_copy):
    batch, output = run(tiny, return_attention=True)
    expected = plain_output(eager_copy(tiny), batch, output_attentions=True).attentions[-1][:, :, 0]
    assert not batch.attention_mask.all(), "the batch must have padding for this test to say something"
    assert_close(output.head_attention, expected, rtol=0, atol=1e-6)
    assert_close(output.attention, expected.mean(dim=1), rtol=0, atol=1e-6)


def test_the_recorded_row_is_a_distribution_over_what_is_not_padding(tiny):
    batch, output = run(tiny, return_attention=True)
    assert_close(output.head_attention.sum(dim=-1), torch.ones(3, 2))
    assert (output.attention[~batch.attention_mask] == 0).all()


def test_the_recorded_row_is_before_dropout(make_tiny):
    classifier = make_tiny(layers=1)
    _, evaluated = run(classifier, return_attention=True)
    for module in classifier.modules():
        module.training = type(module).__name__.endswith("SelfAttention")
    _, trained = run(classifier, return_attention=True)
    assert_close(trained.head_attention, evaluated.head_attention)
    assert not torch.allclose(trained.logits, evaluated.logits), "dropout must act on the prediction"


def test_attention_that_was_not_recorded_cannot_be_read(tiny):
    _, output = run(tiny)
    assert output.head_attention is None
    with pytest.raises(ValueError, match="return_attention=True"):
        _ = output.attention


def test_batch_mates_and_padding_change_nothing(tiny):
    _, together = run(tiny, return_attention=True)
    for row, text in enumerate(TEXTS):
        _, alone = run(tiny, [text], return_attention=True)
        tokens = alone.attention.shape[1]
        assert_close(together.logits[row], alone.logits[0], rtol=0, atol=1e-5)
        assert_close(together.attention[row, :tokens], alone.attention[0], rtol=0, atol=1e-5)


def test_the_gradient_of_a_logit_with_respect_to_the_row_is_autograds(tiny, eager_copy):
    batch, output = run(tiny, return_attention=True)
    (gradient,) = torch.autograd.grad(output.logits[:, 1].sum(), output.head_attention)
    plain = plain_output(eager_copy(tiny), batch, output_attentions=True)
    (expected,) = torch.autograd.grad(plain.logits[:, 1].sum(), plain.attentions[-1])
    # On padding, whose weight is 0 whatever happens, the families differ: RoBERTa gives it other positions.
    attended = batch.attention_mask[:, None].expand_as(gradient)
    assert expected.abs().max() > 1e-3
    assert_close(gradient[attended], expected[:, :, 0][attended], rtol=1e-4, atol=1e-6)


def parameter_gradients_of_a_gradient_penalty(forward, embed, model):
    embeddings = embed()
    logits = forward(embeddings)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), embeddings, create_graph=True)
    model.zero_grad()
    gradient.square().sum().backward()
    second = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return gradient.detach(), second


@pytest.mark.parametrize("return_attention", [False, True])
def test_double_backward_gives_the_plain_models_first_and_second_derivatives(tiny, eager_copy, return_attention):
    tiny.double()
    plain = eager_copy(tiny)
    batch = tiny.tokenize(TEXTS)
    first, second = parameter_gradients_of_a_gradient_penalty(
        lambda embeddings: (
            tiny(embeddings, batch.attention_mask, return_attention=return_attention, double_backward=True).logits
        ),
        lambda: tiny.embed(batch.input_ids),
        tiny.model,
    )
    expected_first, expected_second = parameter_gradients_of_a_gradient_penalty(
        lambda embeddings: plain(inputs_embeds=embeddings, attention_mask=batch.attention_mask.long()).logits,
        lambda: plain.get_input_embeddings()(batch.input_ids),
        plain,
    )
    assert_close(first, expected_first, rtol=1e-6, atol=1e-9)
    assert second.keys() == expected_second.keys()
    for name, value in second.items():
        assert_close(value, expected_second[name], rtol=1e-6, atol=1e-9, msg=name)


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


def test_a_slow_tokenizer_is_refused(tiny):
    with pytest.raises(UserError, match="CanineTokenizer has no character offsets: load its fast version"):
        TextClassifier(tiny.model, transformers.CanineTokenizer())


def test_a_tokenizer_without_padding_is_refused(tiny):
    tiny.tokenizer.pad_token = None
    with pytest.raises(UserError, match="no padding token"):
        TextClassifier(tiny.model, tiny.tokenizer)


def test_a_decoder_is_refused(tiny):
    config = transformers.GPT2Config(
        vocab_size=len(tiny.tokenizer), n_embd=16, n_head=2, n_layer=1, n_positions=32, pad_token_id=0,
        bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    model = transformers.GPT2ForSequenceClassification(config)
    with pytest.raises(UserError, match="GPT2ForSequenceClassification is a decoder"):
        TextClassifier(model, tiny.tokenizer)


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("DebertaV2", {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32}),
        ("XLNet", {"d_model": 16, "n_head": 2, "n_layer": 1, "d_inner": 32}),
        ("FNet", {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32}),
    ],
)
def test_a_model_whose_attention_cannot_be_read_is_refused(tiny, family, sizes):
    config = getattr(transformers, f"{family}Config")(vocab_size=len(tiny.tokenizer), pad_token_id=0, **sizes)
    model = getattr(transformers, f"{family}ForSequenceClassification")(config)
    with pytest.raises(UserError, match=f"{family}ForSequenceClassification .*attention"):
        TextClassifier(model, tiny.tokenizer)
