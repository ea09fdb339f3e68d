"""Every supported family against transformers' own eager attention, in double precision."""

import copy

import pytest
import torch
import transformers
from torch.testing import assert_close

from regex_lib.models import FAMILIES

TEXTS = ["a fine film", "dull and very bad acting but a great plot", "never"]
DECODERS = ["gemma", "gpt2", "llama", "mistral", "phi3", "qwen2", "qwen3"]
EXACT = {"rtol": 0, "atol": 1e-10}
# Some families round to single precision on the way (norms, rotations), so that a last bit may grow up to here.
ROUNDED = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture(params=sorted(FAMILIES))
def kind(request):
    return request.param


@pytest.fixture
def classifier(kind, make_tiny):
    """Three layers: where a family has local layers, the second is local; in qwen2 and mistral the last is, too."""
    return make_tiny(kind, layers=3).double()


@pytest.fixture
def plain(classifier, eager_copy, unrounded_softmax):
    return eager_copy(classifier).double()


def run(classifier, texts=TEXTS, **options):
    batch = classifier.tokenize(texts)
    return batch, classifier(classifier.embed(batch.input_ids), batch.attention_mask, **options)


def plain_output(model, batch):
    return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask.long(), output_attentions=True)


def logits_one_by_one(model, embeddings, attention_mask):
    """What transformers makes of each text alone, without any padding."""
    rows = zip(embeddings, attention_mask, strict=True)
    return torch.cat([model(inputs_embeds=row[None, attended]).logits for row, attended in rows])


def pooling_rows(kind, attentions, batch):
    last = batch.attention_mask.sum(dim=1) - 1
    return attentions[torch.arange(len(last)), :, last if kind in DECODERS else 0]


def test_logits_are_those_of_the_plain_model(classifier, plain):
    batch, output = run(classifier)
    assert not batch.attention_mask.all(), "the batch must have padding for this test to say something"
    assert_close(output.logits, plain_output(plain, batch).logits, **EXACT)
    assert output.logits.std(dim=0).min() > 0.01, "the texts must differ"


def test_the_recorded_row_is_the_pooling_tokens_in_the_last_layer(kind, classifier, plain):
    batch, output = run(classifier, return_attention=True)
    expected = pooling_rows(kind, plain_output(plain, batch).attentions[-1], batch)
    assert_close(output.head_attention, expected, **EXACT)
    assert_close(output.attention, expected.mean(dim=1), **EXACT)
    assert_close(output.attention.sum(dim=-1), torch.ones(3, dtype=torch.double))
    assert (output.attention[~batch.attention_mask] == 0).all()


def test_the_row_without_a_prediction_is_the_same(classifier):
    batch, output = run(classifier, return_attention=True)
    row = classifier.pooling_attention(classifier.embed(batch.input_ids), batch.attention_mask)
    assert_close(row, output.attention, rtol=0, atol=0)


def test_every_layers_attention_is_the_plain_models(classifier, plain):
    batch = classifier.tokenize(TEXTS)
    layers = classifier.all_attention(classifier.embed(batch.input_ids), batch.attention_mask)
    expected = torch.stack([layer.mean(dim=1) for layer in plain_output(plain, batch).attentions])
    assert layers.shape == (3, 3, *batch.input_ids.shape[1:], *batch.input_ids.shape[1:])
    assert_close(layers[:, batch.attention_mask], expected[:, batch.attention_mask], **EXACT)


@pytest.mark.parametrize("texts", [["a fine film"], ["a fine film not dull", "never the plot and acting"]])
def test_without_padding_causal_attention_needs_no_mask_and_is_the_same(kind, classifier, plain, texts):
    batch, output = run(classifier, texts, return_attention=True)
    assert batch.attention_mask.all()
    expected = plain_output(plain, batch)
    assert_close(output.logits, expected.logits, **EXACT)
    assert_close(output.head_attention, pooling_rows(kind, expected.attentions[-1], batch), **EXACT)
    layers = classifier.all_attention(classifier.embed(batch.input_ids), batch.attention_mask)
    assert_close(layers, torch.stack([layer.mean(dim=1) for layer in expected.attentions]), **EXACT)


def test_the_gradient_of_a_logit_with_respect_to_the_row_is_autograds(kind, classifier, plain):
    batch, output = run(classifier, return_attention=True)
    (gradient,) = torch.autograd.grad(output.logits[:, 1].sum(), output.head_attention)
    expected = plain_output(plain, batch)
    (full,) = torch.autograd.grad(expected.logits[:, 1].sum(), expected.attentions[-1])
    # What a token does not see has weight 0 whatever happens; there the families differ, as in padding's positions.
    seen = pooling_rows(kind, expected.attentions[-1], batch) > 0
    assert full.abs().max() > 1e-3
    assert_close(gradient[seen], pooling_rows(kind, full, batch)[seen], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"return_attention": True}])
def test_double_backward_gives_the_plain_models_first_and_second_derivatives(classifier, plain, options):
    batch = classifier.tokenize(TEXTS)

    def derivatives(model, logits_of):
        embeddings = model.get_input_embeddings()(batch.input_ids)
        logits = logits_of(embeddings)
        (gradient,) = torch.autograd.grad(logits[:, 1].sum(), embeddings, create_graph=True)
        model.zero_grad()
        gradient.square().sum().backward()
        second = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        return gradient.detach(), second

    first, second = derivatives(
        classifier.model, lambda e: classifier(e, batch.attention_mask, double_backward=True, **options).logits
    )
    expected, expected_second = derivatives(plain, lambda e: logits_one_by_one(plain, e, batch.attention_mask))
    assert expected.abs().max() > 1e-3
    assert_close(first, expected, **ROUNDED)
    assert not first[~batch.attention_mask].any()
    for name, value in expected_second.items():
        scale = float(value.abs().max()) + 1.0
        assert_close(second[name] / scale, value / scale, rtol=0, atol=1e-6, msg=name)


def test_the_row_has_second_derivatives(classifier):
    batch = classifier.tokenize(TEXTS)
    embeddings = classifier.embed(batch.input_ids).detach().requires_grad_()
    output = classifier(embeddings, batch.attention_mask, return_attention=True, double_backward=True)
    (gradient,) = torch.autograd.grad(output.attention[:, 1].sum(), embeddings, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), embeddings)
    assert second.isfinite().all()
    assert second.abs().max() > 0


def test_batch_mates_and_padding_change_nothing(classifier):
    batch, together = run(classifier, return_attention=True)
    layers = classifier.all_attention(classifier.embed(batch.input_ids), batch.attention_mask)
    for row, text in enumerate(TEXTS):
        single, alone = run(classifier, [text], return_attention=True)
        tokens = alone.attention.shape[1]
        assert_close(together.logits[row], alone.logits[0], **ROUNDED)
        assert_close(together.attention[row, :tokens], alone.attention[0], **ROUNDED)
        alone_layers = classifier.all_attention(classifier.embed(single.input_ids), single.attention_mask)
        assert_close(layers[:, row, :tokens, :tokens], alone_layers[:, 0], **ROUNDED)


# transformers' own DeBERTa (the first) fails in mixed precision.
@pytest.mark.parametrize("kind", sorted(set(FAMILIES) - {"deberta"}))
def test_mixed_precision_is_near_full_precision(make_tiny, kind):
    classifier = make_tiny(kind)
    _, expected = run(classifier, return_attention=True)
    with torch.autocast("cpu", torch.bfloat16):
        _, output = run(classifier, return_attention=True)
        _, silent = run(classifier)
    assert_close(output.attention.float(), expected.attention, rtol=0, atol=0.02)
    assert_close(output.logits.float(), silent.logits.float(), rtol=0, atol=0.05)
    (output.logits.sum() + output.attention.square().sum()).backward()
    assert all(p.grad.isfinite().all() for p in classifier.parameters() if p.grad is not None)


@pytest.mark.parametrize("return_attention", [False, True])
def test_a_row_of_nothing_but_padding_is_finite_and_disturbs_nobody(classifier, return_attention):
    batch, expected = run(classifier)
    embeddings = classifier.embed(batch.input_ids)
    nothing = batch.attention_mask.clone()
    nothing[2] = False
    output = classifier(embeddings, nothing, return_attention=return_attention)
    assert output.logits.isfinite().all()
    assert_close(output.logits[:2], expected.logits[:2], **ROUNDED)
    (gradient,) = torch.autograd.grad(output.logits.sum(), embeddings)
    assert gradient.isfinite().all()


def test_a_pass_ends_where_nothing_else_is_wanted(classifier):
    calls = []
    for module in classifier.model.modules():
        module.register_forward_hook(lambda module, *_: calls.append(module))
    batch = classifier.tokenize(TEXTS)
    embeddings = classifier.embed(batch.input_ids)
    counts = []
    for passing in (classifier, classifier.pooling_attention, classifier.all_attention):
        calls.clear()
        passing(embeddings, batch.attention_mask)
        counts.append(len(calls))
    assert counts[1] == counts[2] < counts[0] - 2


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("deberta-v2", {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}),
        ("llama", {}),
        ("modernbert", {}),
    ],
)
@pytest.mark.parametrize("double_backward", [False, True])
def test_activations_computed_again_give_the_same_gradients(make_tiny, kind, options, double_backward):
    classifier = make_tiny(kind, layers=3, **options).train()
    checkpointed = copy.deepcopy(classifier)
    checkpointed.checkpoint_activations()

    def gradients(classifier):
        _, output = run(classifier, return_attention=True, double_backward=double_backward)
        (output.logits.square().sum() + output.attention.square().sum()).backward()
        return {name: p.grad for name, p in classifier.named_parameters() if p.grad is not None}

    expected = gradients(classifier)
    for name, gradient in gradients(checkpointed).items():
        assert_close(gradient, expected[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(("kind", "attending"), [("gpt2", "attn"), ("deberta-v2", "self.dropout"), ("electra", "self")])
def test_the_recorded_row_is_before_dropout(make_tiny, kind, attending):
    classifier = make_tiny(kind, layers=1)
    _, evaluated = run(classifier, return_attention=True)
    for name, module in classifier.named_modules():
        module.training = name.endswith(attending)
    _, trained = run(classifier, return_attention=True)
    assert_close(trained.head_attention, evaluated.head_attention)
    assert not torch.allclose(trained.logits, evaluated.logits), "dropout must act on the prediction"


def test_a_model_saved_and_opened_by_transformers_predicts_the_same(make_tiny, kind, tmp_path):
    classifier = make_tiny(kind)
    classifier.save(tmp_path)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager")
    encoded = type(classifier.tokenizer).from_pretrained(tmp_path)(TEXTS, padding=True, return_tensors="pt")
    encoded.pop("token_type_ids", None)
    assert_close(model(**encoded).logits, run(classifier)[1].logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_reads_the_last_attended_token_even_where_it_is_the_padding_token(classifier, plain):
    batch = classifier.tokenize(TEXTS)
    ids = batch.input_ids.clone()
    ids[0, batch.attention_mask[0].sum() - 1] = classifier.pad_id  # removed in place, as the metrics do
    logits = classifier(classifier.embed(ids), batch.attention_mask).logits
    expected = logits_one_by_one(plain, plain.get_input_embeddings()(ids), batch.attention_mask)
    assert_close(logits, expected, **ROUNDED)


@pytest.mark.parametrize("kind", sorted(FAMILIES))
def test_a_family_adds_positions_before_the_first_normalisation_or_says_that_it_does_not(make_tiny, kind):
    classifier = make_tiny(kind)
    config, seen = classifier.model.config, []
    norm = next(one for one in classifier.model.modules() if "Norm" in type(one).__name__)
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        classifier(torch.zeros(1, 5, classifier.embed(torch.tensor([[0]])).shape[-1]), torch.ones(1, 5).bool())
    assert FAMILIES[kind].adds_positions(config) == bool(seen[0].any())
