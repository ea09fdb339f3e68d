import json
import shutil

import huggingface_hub
import pytest
import safetensors.torch
import torch
import transformers
from torch.testing import assert_close

from regex_lib.errors import UserError
from regex_lib.models import ENCODERS, load_classifier, verify_sha256

TEXTS = ["a fine film", "dull and very bad acting"]


def logits(classifier):
    batch = classifier.tokenize(TEXTS)
    with torch.no_grad():
        return classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits


def head(classifier):
    return classifier.model.classifier.weight


@pytest.fixture
def folder(tiny, tmp_path):
    """A saved classifier of each family, and the object it was saved from."""
    tiny.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def encoder_folder(make_tiny, tmp_path):
    """A saved encoder without a classification head."""
    classifier = make_tiny("bert")
    classifier.model.bert.save_pretrained(tmp_path / "encoder")
    classifier.tokenizer.save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def message_of(*args, **kwargs):
    with pytest.raises(UserError) as error:
        load_classifier(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


# Saved and opened again


def test_transformers_opens_what_was_saved_and_computes_the_same(tiny, folder):
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    batch = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    assert_close(model(**batch).logits, logits(tiny), rtol=0, atol=1e-6)


def test_load_classifier_opens_what_was_saved_and_computes_the_same(tiny, folder):
    assert_close(logits(load_classifier(folder)), logits(tiny), rtol=0, atol=0)


def test_a_saved_configuration_is_the_one_transformers_would_save(tiny, folder, tmp_path, eager_copy):
    eager_copy(tiny).save_pretrained(tmp_path / "plain")
    saved, plain = (json.loads((path / "config.json").read_text()) for path in (folder, tmp_path / "plain"))
    assert saved == plain
    assert "regex" not in (folder / "config.json").read_text()


def test_only_safetensors_are_saved(folder):
    assert not [path for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pickle")]


def test_a_checkpoint_keeps_its_number_of_classes(make_tiny, tmp_path):
    make_tiny(num_labels=3).save(tmp_path)
    assert load_classifier(tmp_path).num_labels == load_classifier(tmp_path, num_labels=3).num_labels == 3


# State of the process


def test_loading_leaves_the_global_random_state_alone(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("a GPU has been seeded"))
    before = torch.get_rng_state()
    load_classifier(folder, seed=7)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["minilm", "owner/is-not-cached"])
def test_loading_restores_the_clients_verbosity_even_when_it_fails(name):
    loggers = transformers.logging, huggingface_hub.logging
    before = [logger.get_verbosity() for logger in loggers]
    bars = transformers.logging.is_progress_bar_enabled()
    try:
        for logger in loggers:
            logger.set_verbosity_info()
        load_classifier(name, layers=1)
    except UserError:
        assert name != "minilm"
    finally:
        after = [logger.get_verbosity() for logger in loggers]
        for logger, verbosity in zip(loggers, before, strict=True):
            logger.set_verbosity(verbosity)
    assert after == [transformers.logging.INFO] * 2
    assert transformers.logging.is_progress_bar_enabled() == bars


def test_loading_prints_nothing(encoder_folder, capfd):
    load_classifier(encoder_folder)
    assert capfd.readouterr() == ("", "")


def test_a_loaded_classifier_is_in_evaluation_mode(minilm):
    assert not any(module.training for module in minilm.modules())


# Options


def test_the_same_seed_gives_the_same_head():
    assert torch.equal(*(head(load_classifier("minilm", layers=1, seed=3)) for _ in range(2)))


def test_another_seed_gives_another_head_on_the_same_encoder():
    first, second = (load_classifier("minilm", layers=1, seed=seed).model for seed in (1, 2))
    assert not torch.equal(first.classifier.weight, second.classifier.weight)
    for (name, one), (_, other) in zip(first.bert.named_parameters(), second.bert.named_parameters(), strict=True):
        assert torch.equal(one, other), name


def test_layers_keeps_the_first_ones(minilm):
    two = load_classifier("minilm", layers=2)
    assert [len(model.bert.encoder.layer) for model in (minilm.model, two.model)] == [1, 2]
    for name, value in minilm.model.bert.state_dict().items():
        assert torch.equal(two.model.bert.state_dict()[name], value), name


@pytest.mark.parametrize(("num_labels", "expected"), [(None, 2), (5, 5)])
def test_a_new_head_has_two_classes_or_as_many_as_asked_for(encoder_folder, num_labels, expected):
    classifier = load_classifier(encoder_folder, num_labels)
    assert classifier.num_labels == expected
    assert logits(classifier).shape == (2, expected)


def test_half_precision_checkpoints_are_loaded_in_single_precision(make_tiny, tmp_path):
    classifier = make_tiny()
    classifier.model.half()
    classifier.save(tmp_path)
    assert load_classifier(tmp_path).model.dtype == torch.float32


# Errors


def test_an_unknown_name_comes_with_the_nearest():
    message = message_of("minilmm")
    assert message.startswith("unknown model 'minilmm': did you mean 'minilm'")
    assert all(name in message for name in ENCODERS)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/model", "~/nowhere", "runs/of/mine"])
def test_a_folder_that_is_not_there(name):
    assert message_of(name) == f"unknown model {name!r}: there is no such folder"


def test_a_folder_that_is_no_model(tmp_path):
    assert message_of(tmp_path) == f"{str(tmp_path)!r} is not a model: the folder has no config.json"


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    assert message_of(folder).startswith(f"cannot load model {str(folder)!r}: ")


def test_a_model_that_is_neither_cached_nor_to_be_had():
    assert message_of("owner/is-not-cached").startswith("cannot load model 'owner/is-not-cached': ")


def test_damaged_weights(folder):
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert message_of(folder).startswith(f"cannot load model {str(folder)!r}: ")


def test_a_broken_configuration(tmp_path):
    (tmp_path / "config.json").write_text("{")
    assert message_of(tmp_path).startswith(f"cannot load model {str(tmp_path)!r}: ")


def test_weights_other_than_the_originals_are_refused(monkeypatch):
    monkeypatch.setattr("regex_lib.models.loading.MINILM_SHA256", "0" * 64)
    assert message_of("minilm").startswith("wrong checksum of ")


def test_a_file_is_verified_by_its_content(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    verify_sha256(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    path.write_bytes(b"abcd")
    with pytest.raises(UserError, match=f"wrong checksum of {path}: expected sha256 ba78.*, found 88d4.*"):
        verify_sha256(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


@pytest.mark.parametrize("layers", [-1, 0, 7])
def test_layers_out_of_range(layers):
    assert message_of("minilm", layers=layers) == f"layers must be between 1 and the model's 6, got {layers}"


@pytest.mark.parametrize("num_labels", [-1, 0, 1])
def test_fewer_than_two_classes(num_labels):
    assert message_of("minilm", num_labels=num_labels) == f"num_labels must be 2 or more, got {num_labels}"


def test_a_number_of_classes_that_the_head_does_not_have(folder):
    assert message_of(folder, num_labels=3) == f"{str(folder)!r} has a head of 2 classes, but num_labels is 3"


@pytest.mark.parametrize("part", ["embeddings.word", "layer.1", "q_lin|query"])
def test_an_encoder_without_all_of_its_weights(folder, part):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not any(p in name for p in part.split("|"))}
    safetensors.torch.save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    lost = len(weights) - len(kept)
    assert lost > 0
    assert message_of(folder).startswith(f"{str(folder)!r} lacks {lost} weights of its encoder, such as ")


def test_pickled_weights_are_not_opened(folder):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert message_of(folder).startswith(f"cannot load model {str(folder)!r}: ")


def test_a_folder_without_a_tokenizer(folder):
    for path in folder.glob("token*"):
        path.unlink()
    assert message_of(folder) == f"{str(folder)!r} has no tokenizer: save it beside the model"


def test_a_model_of_an_unsupported_kind(make_tiny, tmp_path):
    tokenizer = make_tiny().tokenizer
    config = transformers.FNetConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, intermediate_size=32, pad_token_id=0
    )
    transformers.FNetForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert message_of(tmp_path).startswith("FNetForSequenceClassification is of the family 'fnet', for which there is ")


def test_a_model_that_brings_its_own_code_is_refused(folder, tmp_path):
    marker = tmp_path / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(marker)!r}, 'w')")
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "modeling_own.Own", "AutoModelForSequenceClassification": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": own}))
    message_of(folder)
    assert not marker.exists()


def test_a_moved_folder_still_opens(tiny, folder, tmp_path):
    moved = shutil.move(folder, tmp_path / "moved to a place with spaces")
    assert_close(logits(load_classifier(moved)), logits(tiny), rtol=0, atol=0)
