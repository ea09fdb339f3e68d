"""Files round-trip, and every kind of unfit file or row gives one line that says where and what."""

import csv
import json
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regex_lib.data import load_data
from regex_lib.errors import UserError

TEXTS = ['"quoted", with a comma', "two\nlines", "naïve 電影 🎬", " spaced ", "NA", "123", "2024-01-01", "it's\ta tab"]
ROWS = [{"text": text, "label": index % 2} for index, text in enumerate(TEXTS)]


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_json_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: list[dict]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS = {".csv": write_csv, ".jsonl": write_json_lines, ".json": write_json_lines, ".parquet": write_parquet}
EVERY_TYPE = pytest.mark.parametrize("suffix", WRITERS)


def rows_of(path: Path, **options) -> list[dict]:
    return load_data(path, **options)["train"].to_list()


def message_of(path: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        load_data(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@EVERY_TYPE
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    WRITERS[suffix](path, ROWS)
    loaded = load_data(path)
    assert list(loaded) == ["train"]
    assert loaded["train"].to_list() == ROWS
    assert loaded["train"].features == datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.Value("int64")}
    )
    assert loaded["train"].info.description == str(path)


@EVERY_TYPE
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(lambda text: text.strip()), min_size=1
    )
)
def test_round_trip_of_any_text(tmp_path, suffix, texts):
    rows = [{"text": text, "label": 0} for text in texts]
    path = tmp_path / f"mine{suffix}"
    WRITERS[suffix](path, rows)
    assert rows_of(path) == rows


def test_other_columns_are_kept(tmp_path):
    rows = [{"id": "a", "text": "x y", "label": 0, "tokens": ["x", "y"], "rationale": [1, 0], "stars": None}]
    write_json_lines(tmp_path / "mine.jsonl", rows)
    assert rows_of(tmp_path / "mine.jsonl") == rows


def test_a_key_that_not_every_row_has(tmp_path):
    write_json_lines(tmp_path / "mine.jsonl", [*ROWS, {"note": "late", "text": "x", "label": 0}])
    assert [row["note"] for row in rows_of(tmp_path / "mine.jsonl")] == [None] * len(ROWS) + ["late"]


def test_a_csv_type_is_inferred_from_every_row(tmp_path):
    rows = [{"text": "x" * 50, "label": 0, "score": "1"}] * 40_000 + [{"text": "x", "label": 0, "score": "1.5"}]
    write_csv(tmp_path / "mine.csv", rows)
    assert rows_of(tmp_path / "mine.csv")[-1]["score"] == 1.5


@EVERY_TYPE
def test_a_changed_file_is_read_anew(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    for label in (0, 1):
        WRITERS[suffix](path, [{"text": "same length", "label": label}])
        assert rows_of(path, num_labels=2)[0]["label"] == label


def test_byte_order_marks_are_skipped(tmp_path):
    (tmp_path / "mine.csv").write_text("text,label\nx,0\n", encoding="utf-8-sig")
    (tmp_path / "mine.jsonl").write_text('{"text": "x", "label": 0}\n\n', encoding="utf-8-sig")
    assert rows_of(tmp_path / "mine.csv") == rows_of(tmp_path / "mine.jsonl") == [{"text": "x", "label": 0}]


def test_class_labels_become_integers(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    datasets.Dataset.from_list(ROWS, features=features).to_parquet(tmp_path / "mine.parquet")
    loaded = load_data(tmp_path / "mine.parquet")["train"]
    assert loaded.features["label"] == datasets.Value("int64")
    assert loaded.to_list() == ROWS


def test_categories_and_narrow_types_are_widened(tmp_path):
    frame = pd.DataFrame(ROWS).astype({"text": "category", "label": "uint8"})
    frame.to_parquet(tmp_path / "mine.parquet")
    assert rows_of(tmp_path / "mine.parquet") == ROWS


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path):
    folder = tmp_path / "run=3"
    folder.mkdir()
    write_parquet(folder / "mine.parquet", ROWS)
    assert rows_of(folder / "mine.parquet") == ROWS


@EVERY_TYPE
def test_an_empty_file(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    path.touch()
    assert message_of(path) == f"cannot read {path}: it is empty"


def test_a_file_without_rows(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n")
    (tmp_path / "b.jsonl").write_text("\n\n")
    pq.write_table(
        pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.int64())}), tmp_path / "c.parquet"
    )
    for path in tmp_path.iterdir():
        assert message_of(path) == f"{path} has no rows"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"x", None),
        ("a.parquet", b"not parquet", "Parquet magic bytes not found in footer"),
        ("a.csv", b"text,label\nx,0\ny\n", "CSV parse error: Expected 2 columns, got 1: y"),
        ("a.csv", b"text,label\n\xff\xfe,0\n", "invalid UTF8 data"),
        ("a.jsonl", b'{"text": "x", "label": 0}\n{"text": \n', "line 2 is not one JSON object"),
        ("a.json", b'[{"text": "x", "label": 0}]', "line 1 is not one JSON object"),
        ("a.jsonl", b'{"text": "\xff", "label": 0}\n', "'utf-8' codec can't decode byte 0xff"),
        ("a.jsonl", b'{"text": "\\ud800", "label": 0}\n', "surrogates not allowed"),
        ("a.jsonl", b'{"text": "x", "label": 0}\n{"text": "y", "label": "no"}\n', "tried to convert to int64"),
        ("a.jsonl", b'{"text": "x", "label": 1000000000000000000000}\n', "too large"),
    ],
)
def test_an_unreadable_file(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    message = message_of(path)
    assert message.startswith(f"cannot read {path}: ")
    if reason is None:
        assert message.endswith("its name must end in one of .parquet, .csv, .jsonl, .json")
    else:
        assert reason in message


@EVERY_TYPE
@pytest.mark.parametrize("missing", ["text", "label"])
def test_a_missing_column(tmp_path, suffix, missing):
    path = tmp_path / f"mine{suffix}"
    WRITERS[suffix](path, [{"sentence": "x", **{key: ROWS[0][key] for key in ("text", "label") if key != missing}}])
    kept = "label" if missing == "text" else "text"
    assert message_of(path) == f"{path} has no column '{missing}'; its columns: sentence, {kept}"


def test_a_column_that_is_there_twice(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text,label,text\nx,0,y\n")
    assert message_of(path) == f"{path} has more than one column 'text'; its columns: text, label, text"


@EVERY_TYPE
@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text(tmp_path, suffix, text):
    path = tmp_path / f"mine{suffix}"
    WRITERS[suffix](path, [*ROWS, {"text": text, "label": 0}])
    assert message_of(path) == f"{path}, row {len(ROWS) + 1}: the text is empty"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_text_that_is_null_or_no_text(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    WRITERS[suffix](path, [*ROWS, {"text": None, "label": 0}])
    assert message_of(path) == f"{path}, row {len(ROWS) + 1}: the text is empty"
    WRITERS[suffix](path, [{"text": None, "label": 0}])
    assert message_of(path) == f"{path}, row 1: the text is empty"
    WRITERS[suffix](path, [{"text": 5, "label": 0}])
    assert message_of(path) == f"{path}: column 'text' holds int64, not text"


@EVERY_TYPE
@pytest.mark.parametrize("label", ["positive", 1.5, True])
def test_a_label_that_is_no_integer(tmp_path, suffix, label):
    path = tmp_path / f"mine{suffix}"
    WRITERS[suffix](path, [{"text": "x", "label": label}])
    assert message_of(path) == (f"{path}, row 1: label {label!r} is not an integer; map the labels to integers from 0")


@EVERY_TYPE
def test_labels_that_are_whole_decimal_numbers(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    WRITERS[suffix](path, [{"text": "x", "label": 1.0}, {"text": "y", "label": 0.0}])
    assert message_of(path) == f"{path}: column 'label' holds double, such as 1.0: write 1"


def test_labels_that_are_numbers_as_text(tmp_path):
    path = tmp_path / "mine.jsonl"
    write_json_lines(path, [{"text": "x", "label": "1"}, {"text": "y", "label": "0"}])
    assert message_of(path) == f"{path}: column 'label' holds string, such as '1': write 1"


@pytest.mark.parametrize(
    ("label", "shown"), [("good", "'good'"), ("1.5", "1.5"), ("99999999999999999999", "1e+20"), ("nan5", "'nan5'")]
)
def test_the_first_label_of_a_csv_that_is_no_integer(tmp_path, label, shown):
    path = tmp_path / "mine.csv"
    path.write_text(f"text,label\nx,0\ny,-1\nz,{label}\n")
    assert message_of(path) == f"{path}, row 3: label {shown} is not an integer; map the labels to integers from 0"


@EVERY_TYPE
def test_a_missing_label(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    WRITERS[suffix](path, [*ROWS, {"text": "x", "label": None}])
    assert message_of(path) == f"{path}, row {len(ROWS) + 1}: the label is missing"


@EVERY_TYPE
def test_a_label_out_of_range(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    WRITERS[suffix](path, [*ROWS, {"text": "x", "label": -1}])
    last = len(ROWS) + 1
    assert message_of(path) == f"{path}, row {last}: label -1 is negative; a hidden label looks like this"
    WRITERS[suffix](path, [*ROWS, {"text": "x", "label": 2}])
    assert message_of(path, num_labels=2) == f"{path}, row {last}: label 2 is out of range, 0 to 1"
    assert len(rows_of(path)) == last


def test_a_gap_between_the_labels(tmp_path):
    write_parquet(tmp_path / "train.parquet", ROWS)
    write_parquet(tmp_path / "test.parquet", [{"text": "x", "label": 3}])
    assert message_of(tmp_path) == (
        f"{tmp_path / 'test.parquet'}: there is a label 3 but no label 2;"
        " map the labels to integers from 0 without a gap, or give load_data their number as num_labels"
    )
    assert load_data(tmp_path, num_labels=4).num_rows == {"train": len(ROWS), "test": 1}
