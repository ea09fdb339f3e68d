"""One function that loads every kind of data set: bundled, of the catalogue, of a file or folder, of the hub."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from regex_lib.data.catalogue import DataSource, catalogue_names, find_source
from regex_lib.data.hub import fetch_files, fetch_repository
from regex_lib.data.tables import READERS, SPLITS, Split, check_split, check_without_gaps, find_files, read_split
from regex_lib.errors import UserError, unknown_name

if TYPE_CHECKING:
    import datasets

__all__ = ["load_data"]

BUNDLED = Path(__file__).parent
"""Where ``<name>/<part>.jsonl`` of the bundled data are."""

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(@.+)?")
"""``owner/name`` or ``owner/name@revision``."""


def load_data(name_or_path: str | Path, *, num_labels: int | None = None) -> "datasets.DatasetDict":
    r"""Loads a data set for text classification, checked row by row.

    What a string stands for is looked up in this order; a ``Path`` is always a file or folder:

    1. A name of the catalogue: bundled data (``"reviews"``, or one of its parts such as ``"reviews:films"``);
       for the others, the folder ``<name>`` in the folder that the environment variable ``REGEX_DATA`` names, if it
       has one with files ``train``, ``validation`` and ``test``; else the commit on the Hugging Face hub that the
       catalogue names.
    2. A file ``.parquet``, ``.csv``, ``.jsonl`` or ``.json`` (one object a line): all of it is the split ``train``.
    3. A folder with files ``train``, ``validation`` and ``test`` of these types: those splits that it has.
    4. A repository on the hub, ``"owner/name"`` or ``"owner/name@revision"``. It must have the two columns below; one
       with another layout can be changed with the library ``datasets`` and saved to a file.

    Files are read into memory each time, so that no cache can be out of date.

    Args:
        name_or_path: what to load.
        num_labels: how many classes there are, where the data cannot tell since the last ones never occur. Without it
            they are those of the catalogue, or, outside it, one more than the highest label.

    Returns:
        The splits that exist of ``train``, ``validation`` and ``test``, in this order, with a string column ``text``,
        an int64 column ``label`` of 0 to `num_labels` - 1, and every other column as it was. Where a split was read
        from is in its ``info.description``.

    Raises:
        UserError: nothing is found under this name, it cannot be read or had, or a row is not fit for training. Rows
            are counted from 1, without a header.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "mine.csv")
        ...     _ = path.write_text("text,label\nA gem.,1\nA bore.,0\n")
        ...     load_data(path)["train"][0]
        {'text': 'A gem.', 'label': 1}
    """
    if num_labels is not None and num_labels < 2:
        raise UserError(f"num_labels must be at least 2, not {num_labels}")
    source = find_source(name_or_path) if isinstance(name_or_path, str) else None
    if source is not None:
        splits = _from_catalogue(source, str(name_or_path))
        num_labels = num_labels or source.num_labels
    else:
        splits = _from_elsewhere(name_or_path)
    splits = {name: check_split(splits[name], num_labels) for name in SPLITS if name in splits}
    if num_labels is None:
        check_without_gaps(splits.values())
    return _dataset_dict(splits)


def _from_catalogue(source: DataSource, name: str) -> dict[str, Split]:
    if source.parts:
        _, _, part = name.partition(":")
        return _bundled(source.name, (part,) if part else source.parts)
    files = _files_of_own_copy(name)
    if files:
        return _read_all(files)
    own_copy = f"name in REGEX_DATA a folder that has {name}/{{{','.join(SPLITS)}}}.parquet"
    if source.hub is None:
        raise UserError(f"{name} must be your own copy ({source.edition}): {own_copy}")
    return fetch_files(source.hub, otherwise=own_copy)


def _bundled(name: str, parts: tuple[str, ...]) -> dict[str, Split]:
    tables = [read_split(BUNDLED / name / f"{part}.jsonl").table for part in parts]
    table = pa.concat_tables(tables, promote_options="default")
    return {
        split: Split(f"{name} ({', '.join(parts)}), {split}", rows.drop_columns("split"))
        for split in SPLITS
        if (rows := table.filter(pc.field("split") == split)).num_rows
    }


def _files_of_own_copy(name: str) -> Mapping[str, Path]:
    root = os.environ.get("REGEX_DATA")
    if not root:
        return {}
    if not Path(root).expanduser().is_dir():
        raise UserError(f"REGEX_DATA names {root}, which is not a folder")
    return find_files(Path(root).expanduser() / name)


def _from_elsewhere(name_or_path: str | Path) -> dict[str, Split]:
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        files = find_files(path)
        if not files:
            raise UserError(f"{path} has no file {', '.join(SPLITS)} that ends in one of {', '.join(READERS)}")
        return _read_all(files)
    if path.exists():
        return {"train": read_split(path)}
    is_path = isinstance(name_or_path, Path) or path.suffix.lower() in READERS
    if not is_path and HUB_ID.fullmatch(str(name_or_path)):
        return fetch_repository(str(name_or_path))
    if is_path or "/" in str(name_or_path):
        raise UserError(f"there is no file or folder {path}")
    raise unknown_name("data set", str(name_or_path), catalogue_names())


def _read_all(files: Mapping[str, Path]) -> dict[str, Split]:
    return {split: read_split(path) for split, path in files.items()}


def _dataset_dict(splits: Mapping[str, Split]) -> "datasets.DatasetDict":
    import datasets

    return datasets.DatasetDict(
        {
            name: datasets.Dataset(table, info=datasets.DatasetInfo(description=where), split=datasets.NamedSplit(name))
            for name, (where, table) in splits.items()
        }
    )
