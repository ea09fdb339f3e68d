"""Finished results in a folder, each addressed by everything that it depends on."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from regex_lib.errors import UserError
from regex_lib.evaluation.protocol import Protocol, plain
from regex_lib.models import TextClassifier
from regex_lib.packages import package_versions

__all__ = ["ShardFolder", "Shards", "cannot_write", "digest_of", "frames_of", "weights_digest"]


def weights_digest(classifier: TextClassifier) -> str:
    """SHA-256 of a model's weights and configuration and of its tokenizer: equal where they predict alike.

    The tokenizer is its backend, and what stands beside it: which tokens pad, mask and structure a text, how much of it
    is read, from which end, and whether special tokens are known in it.
    """
    digest = hashlib.sha256()
    config = classifier.model.config.to_dict()
    for name in ("_name_or_path", "transformers_version", "id2label", "label2id"):
        config.pop(name, None)
    tokenizer = json.loads(classifier.tokenizer.backend_tokenizer.to_str())
    for name in ("padding", "truncation"):  # left over from the last call
        tokenizer.pop(name, None)
    beside = [
        *(classifier.pad_id, classifier.mask_id, sorted(classifier.boundary_ids), classifier.max_length),
        *(classifier.tokenizer.truncation_side, classifier.tokenizer.split_special_tokens),
    ]
    digest.update(json.dumps([config, tokenizer, beside], sort_keys=True, default=str).encode())
    for name, weights in sorted(classifier.model.state_dict().items()):
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        digest.update(weights.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def digest_of(*parts: Any) -> str:
    """SHA-256 of anything that :func:`plain` can tell.

    Raises:
        UserError: if there is something else.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=plain).encode()).hexdigest()


class Shards:
    """Per-example results in parquet files, read one by one."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, list(names)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for name in self.names:
            frame = pd.read_parquet(self.folder / name)
            if len(frame):  # no text of a shard may have content
                yield frame


def frames_of(results: pd.DataFrame | Shards) -> Iterator[pd.DataFrame]:
    """Results piece by piece, none of them empty."""
    yield from ([results] if len(results) else []) if isinstance(results, pd.DataFrame) else results


class ShardFolder:
    """A folder to which shards are written, each whole or not at all."""

    def __init__(self, folder: Path, classifier: TextClassifier, protocol: Protocol) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        self._digest = digest_of(package_versions(["regex-lib"]), weights_digest(classifier), asdict(protocol))

    def name(self, rows: Sequence[int], text: Sequence[str], label: Sequence[int]) -> str:
        """The name of the file with the results of some examples."""
        return digest_of(self._digest, list(rows), list(text), list(label))[:32] + ".parquet"

    def has(self, name: str) -> bool:
        """Whether a shard is finished and whole."""
        try:
            pq.read_metadata(self.folder / name)
        except (OSError, pa.ArrowInvalid):
            return False
        return True

    def write(self, name: str, frame: pd.DataFrame) -> None:
        """Write a shard, so that a process that is killed leaves none or all of it."""
        unfinished = self.folder / f"{name}.{os.getpid()}.part"
        try:
            frame.to_parquet(unfinished, index=False)
            unfinished.replace(self.folder / name)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise cannot_write(self.folder, error) from error


def cannot_write(folder: Path, error: OSError) -> UserError:
    """The error for a folder that cannot be written to."""
    return UserError(f"cannot write to {str(folder)!r}: {error.strerror or error}")
