"""Data sets of the Hugging Face hub. Nothing else in this package reads the network."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from regex_lib.data.catalogue import HubFiles
from regex_lib.data.tables import SPLITS, Split, one_line, read_split
from regex_lib.errors import UserError

__all__ = ["fetch_files", "fetch_repository"]


def fetch_files(hub: HubFiles, otherwise: str) -> dict[str, Split]:
    """Gets the files of a catalogue entry, from the hub's cache if it has that commit.

    Args:
        hub: the files.
        otherwise: what else the user can do if they cannot be had, for the error.

    Returns:
        The rows of each split, not yet checked.

    Raises:
        UserError: a file cannot be had.
    """
    from huggingface_hub import hf_hub_download

    splits = {}
    for split, file in hub.files.items():
        try:
            path = Path(hf_hub_download(hub.repo, file, repo_type="dataset", revision=hub.revision))
        except Exception as error:  # the client raises many types that have no base in common
            raise _unreachable(f"{file} of {_repository(hub.repo, hub.revision)}", error, otherwise) from error
        splits[split] = Split(f"{_repository(hub.repo, hub.revision)}, {split}", read_split(path).table)
    return splits if hub.validation_every is None else _with_validation(splits, hub.validation_every)


def fetch_repository(repo_and_revision: str) -> dict[str, Split]:
    """Gets a data set repository of any layout that `datasets.load_dataset` reads without running code.

    Args:
        repo_and_revision: ``owner/name``, or ``owner/name@revision`` with a branch, tag or commit.

    Returns:
        The rows of each of the splits ``train``, ``validation`` and ``test`` that it has, not yet checked.

    Raises:
        UserError: the repository cannot be had or read, or has none of the splits.
    """
    import datasets

    repo, _, revision = repo_and_revision.partition("@")
    # Without the network, `datasets` falls back on whatever revision is in its cache: so each has a cache of its own.
    cache = f"{datasets.config.HF_DATASETS_CACHE}/{revision}" if revision else None
    try:
        found = datasets.load_dataset(repo, revision=revision or None, cache_dir=cache)
    except Exception as error:  # the client raises many types that have no base in common
        raise _unreachable(_repository(repo, revision), error, "give a file or folder instead") from error
    if not set(found) & set(SPLITS):
        raise UserError(
            f"{_repository(repo, revision)} has none of {', '.join(SPLITS)}; its splits: {', '.join(found)}"
        )
    return {
        split: Split(f"{_repository(repo, revision)}, {split}", found[split].data.table)
        for split in SPLITS
        if split in found
    }


def _with_validation(splits: dict[str, Split], every: int) -> dict[str, Split]:
    """Moves every so many rows of train into validation."""
    where, table = splits["train"]
    moved = pa.array([row % every == every - 1 for row in range(table.num_rows)])
    validation = Split(f"{where}, each row {every}", table.filter(moved))
    return splits | {"train": Split(where, table.filter(pc.invert(moved))), "validation": validation}


def _repository(repo: str, revision: str) -> str:
    return f"{repo} at {revision[:12]}" if revision else repo


def _unreachable(what: str, error: Exception, otherwise: str) -> UserError:
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # what went wrong before the client looked into its cache
    return UserError(
        f"cannot get {what} from the Hugging Face hub: {one_line(error)}; check the name and the network,"
        f" log in with 'hf auth login' if it is private or gated, or {otherwise}"
    )
