"""Files of examples, read whole and checked: every row has a text and a label that a classifier can be trained on."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from regex_lib.errors import UserError

__all__ = ["READERS", "SPLITS", "Split", "check_split", "check_without_gaps", "find_files", "one_line", "read_split"]

SPLITS = ("train", "validation", "test")
"""The splits that this library uses, in order."""


class Split(NamedTuple):
    """The rows of one split."""

    where: str
    """Where they come from, as an error names it: a file, or a repository and a split."""
    table: pa.Table
    """The rows."""


def _read_parquet(path: Path) -> pa.Table:
    with pa.parquet.ParquetFile(path) as file:
        return file.read()


def _read_csv(path: Path) -> pa.Table:
    return pa.csv.read_csv(
        path,
        # One block, so that the types are inferred from every row.
        read_options=pa.csv.ReadOptions(block_size=min(path.stat().st_size, 2**31 - 1)),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(column_types={"text": pa.string()}),
    )


def _read_json_lines(path: Path) -> pa.Table:
    rows = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows.append(_json_object(line, number))
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _json_object(line: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is not one JSON object")
    return row


READERS = {".parquet": _read_parquet, ".csv": _read_csv, ".jsonl": _read_json_lines, ".json": _read_json_lines}
"""The reader of each type of file, by its suffix. JSON files hold one object a line."""


def read_split(path: Path) -> Split:
    """Reads a file into memory, so that it may change or vanish afterwards.

    Args:
        path: the file; its suffix, one of those of `READERS`, says what it holds.

    Returns:
        Its rows, not yet checked.

    Raises:
        UserError: the file is empty, damaged, or of another type.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"cannot read {path}: its name must end in one of {', '.join(READERS)}")
    try:
        if path.stat().st_size == 0:
            raise ValueError("it is empty")
        return Split(str(path), reader(path))
    except (OSError, ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise UserError(f"cannot read {path}: {one_line(error)}") from error


def find_files(folder: Path) -> dict[str, Path]:
    """The files ``train``, ``validation`` and ``test`` of a folder, of any type that `read_split` knows.

    Args:
        folder: the folder.

    Returns:
        The file of each split that it has; it may have none.

    Raises:
        UserError: two files claim the same split.
    """
    found = {}
    for split in SPLITS:
        files = [path for suffix in READERS if (path := folder / f"{split}{suffix}").is_file()]
        if len(files) > 1:
            raise UserError(f"{folder} has {' and '.join(path.name for path in files)}: which is the split?")
        if files:
            found[split] = files[0]
    return found


def check_split(split: Split, num_labels: int | None) -> Split:
    """Checks every row, and makes `text` a string column and `label` an int64 column.

    Args:
        split: rows as they were read.
        num_labels: how many classes there are; None if only the data can tell.

    Returns:
        The same rows, all columns kept.

    Raises:
        UserError: there are no rows, a column is missing, or a row has no text or no valid label.
    """
    where, table = split
    if table.num_rows == 0:
        raise UserError(f"{where} has no rows")
    names = table.column_names
    for name in ("text", "label"):
        if names.count(name) != 1:
            has = "no column" if name not in names else "more than one column"
            raise UserError(f"{where} has {has} {name!r}; its columns: {', '.join(names)}")
    # Without the metadata, in which ClassLabel features are declared.
    table = _without_dictionaries(table.replace_schema_metadata(None))
    for name, column in (
        ("text", _checked_texts(table["text"], where)),
        ("label", _checked_labels(table["label"], num_labels, where)),
    ):
        table = table.set_column(names.index(name), name, column)
    return Split(where, table)


def _without_dictionaries(table: pa.Table) -> pa.Table:
    """Categorical columns of pandas as what they stand for."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table[index].cast(field.type.value_type))
    return table


def _checked_texts(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise UserError(f"{where}: column 'text' holds {kind}, not text")
    column = column.cast(pa.string())
    # A null has a null length.
    length = pc.fill_null(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0)
    if (row := _first(pc.equal(length, 0))) is not None:
        raise UserError(f"{where}, row {row + 1}: the text is empty")
    return column


def _checked_labels(column: pa.ChunkedArray, num_labels: int | None, where: str) -> pa.ChunkedArray:
    if (row := _first(pc.is_null(column, nan_is_null=True))) is not None:
        raise UserError(f"{where}, row {row + 1}: the label is missing")
    if not pa.types.is_integer(column.type):
        labels = column.to_pylist()
        # One label that is no integer makes decimals of all the others of a file.
        row = next((row for row, label in enumerate(labels) if not re.fullmatch(r"-?\d+(\.0)?", str(label))), None)
        if row is None:
            raise UserError(
                f"{where}: column 'label' holds {column.type}, such as {labels[0]!r}: write {float(labels[0]):.0f}"
            )
        raise UserError(
            f"{where}, row {row + 1}: label {labels[row]!r} is not an integer; map the labels to integers from 0"
        )
    if (row := _first(pc.less(column, 0))) is not None:
        raise UserError(f"{where}, row {row + 1}: label {column[row]} is negative; a hidden label looks like this")
    if num_labels is not None and (row := _first(pc.greater_equal(column, num_labels))) is not None:
        raise UserError(f"{where}, row {row + 1}: label {column[row]} is out of range, 0 to {num_labels - 1}")
    return column.cast(pa.int64())


def _first(flags: pa.ChunkedArray) -> int | None:
    """The index of the first true flag."""
    index = pc.index(flags, True).as_py()
    return None if index < 0 else index


def check_without_gaps(splits: Iterable[Split]) -> None:
    """Checks that the labels of all splits together are 0 to some n without a gap.

    Args:
        splits: the checked splits of one data set.

    Raises:
        UserError: a label is missing below the highest one.
    """
    highest = {label: where for where, table in splits for label in pc.unique(table["label"]).to_pylist()}
    gap = next((label for label in range(max(highest)) if label not in highest), None)
    if gap is not None:
        raise UserError(
            f"{highest[max(highest)]}: there is a label {max(highest)} but no label {gap};"
            " map the labels to integers from 0 without a gap, or give load_data their number as num_labels"
        )


def one_line(error: BaseException, length: int = 200) -> str:
    """What an error of another library says, on one line.

    Args:
        error: the error.
        length: where its message is cut off.

    Returns:
        The message, or the error's type if it has none.

    Example:
        >>> one_line(KeyError())
        'KeyError'
    """
    message = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return message if len(message) <= length else f"{message[:length]}..."
