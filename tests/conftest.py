"""What every test shares: checked shapes, one thread per worker, tiny models and the real data."""

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach a network unless it starts the server itself
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook

# Shapes in signatures are checked at every call in tests, and cost nothing at run time.
install_import_hook("regex_lib", "beartype.beartype")

import datasets
import pytest
import tokenizers
import torch
import transformers

from regex_lib.models import TextClassifier, load_classifier

WORDS = (
    *("a", "fine", "film", "dull", "never", "not", "once", "great", "bad"),
    *("very", "the", "of", "and", "but", "plot", "acting"),
)


@pytest.fixture(autouse=True, scope="session")
def _one_thread_and_no_bars() -> None:
    datasets.disable_progress_bars()
    torch.set_num_threads(1)  # in models this small, two threads only wait for each other


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def word_tokenizer(kind: str) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer of whole words with the special tokens of a family: "bert" (and distilbert) or "roberta"."""
    pad, unk, cls, sep, mask = (
        ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
        if kind == "roberta"
        else ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    )
    specials = [cls, pad, sep, unk, mask] if kind == "roberta" else [pad, unk, cls, sep, mask]
    vocabulary = {word: i for i, word in enumerate([*specials, *WORDS])}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=unk))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{cls} $A {sep}", special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token=pad, unk_token=unk, cls_token=cls, sep_token=sep, mask_token=mask,
        model_max_length=32,
    )  # fmt: skip


def tiny_classifier(kind: str = "bert", *, layers: int = 2, num_labels: int = 2, seed: int = 0) -> TextClassifier:
    """A randomly initialised encoder of a family, small enough for exact checks: 16 wide, 2 heads."""
    sizes = {"vocab_size": 5 + len(WORDS), "num_labels": num_labels}
    torch.manual_seed(seed)
    if kind == "distilbert":
        config = transformers.DistilBertConfig(
            dim=16, n_heads=2, n_layers=layers, hidden_dim=32, max_position_embeddings=32, **sizes
        )
    else:
        family = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig}[kind]
        positions = 34 if kind == "roberta" else 32
        config = family(
            hidden_size=16, num_attention_heads=2, num_hidden_layers=layers, intermediate_size=32,
            max_position_embeddings=positions, **sizes,
        )  # fmt: skip
    config.initializer_range = 0.3  # large weights, so that predictions differ visibly
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    return TextClassifier(model.eval(), word_tokenizer(kind))


@pytest.fixture(params=["bert", "roberta", "distilbert"])
def tiny(request: pytest.FixtureRequest) -> TextClassifier:
    """One tiny classifier of each family."""
    return tiny_classifier(request.param)


@pytest.fixture(scope="session")
def make_tiny() -> Callable[..., TextClassifier]:
    """`tiny_classifier`: a folder's own conftest.py hides this module's name, so it cannot be imported everywhere."""
    return tiny_classifier


@pytest.fixture(scope="session")
def eager_copy() -> Callable[[TextClassifier], transformers.PreTrainedModel]:
    """Makes the plain model of a classifier: transformers' own attention, written out, with the same weights."""

    def copy(classifier: TextClassifier) -> transformers.PreTrainedModel:
        config = type(classifier.model.config).from_dict(classifier.model.config.to_dict())
        plain = type(classifier.model)._from_config(config, attn_implementation="eager", dtype=classifier.model.dtype)
        plain.load_state_dict(classifier.model.state_dict())
        return plain.eval()

    return copy


@pytest.fixture(scope="session")
def minilm() -> TextClassifier:
    """One layer of MiniLM with its real weights and tokenizer."""
    return load_classifier("minilm", layers=1, device="cpu")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets that REGEX_DATA names."""
    folder = os.environ.get("REGEX_DATA")
    if not folder:
        pytest.skip("REGEX_DATA is not set: it must name a folder of real data sets")
    return Path(folder)
