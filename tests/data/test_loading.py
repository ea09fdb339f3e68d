"""What a name stands for."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regex_lib.data import CATALOGUE, load_data, loading
from regex_lib.errors import UserError

PARTS = CATALOGUE["reviews"].parts
ROWS = [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]
KNOWN = (
    "amaz_digimu, amaz_instr, amaz_music_mdsd, amaz_pantry, eraser_movies, imdb, reviews, reviews:films,"
    " reviews:gadgets, reviews:restaurants, sst, tweet_sentiment, yelp"
)


def review(part: str, number: int, split: str) -> dict:
    tokens = f"{part} number {number}".split()
    return {
        "id": f"{part}-{number:04}",
        "domain": part,
        "split": split,
        "text": " ".join(tokens),
        "label": number % 2,
        "tokens": tokens,
        "rationale": [0, 0, 1],
        "phenomenon": "plain",
        "pair": f"{part}-p01" if part == "films" else None,
    }


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    (tmp_path / "reviews").mkdir()
    splits = ("train", "test", "validation", "train")
    for part in PARTS:
        lines = [json.dumps(review(part, number, split)) for number, split in enumerate(splits)]
        (tmp_path / "reviews" / f"{part}.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr(loading, "BUNDLED", tmp_path)


@pytest.fixture
def own_copies(tmp_path, monkeypatch):
    monkeypatch.setenv("REGEX_DATA", str(tmp_path))
    (tmp_path / "sst").mkdir()
    return tmp_path


@pytest.fixture
def no_hub(monkeypatch):
    """Says which function of the hub would have been called with what."""

    def fetch(*args, **options):
        raise UserError(f"asked the hub for {args[0]}")

    monkeypatch.setattr(loading, "fetch_files", fetch)
    monkeypatch.setattr(loading, "fetch_repository", fetch)


def write(path, rows=ROWS):
    pq.write_table(pa.Table.from_pylist(rows), path)


def message_of(name, **options) -> str:
    with pytest.raises(UserError) as caught:
        load_data(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("bundled")
def test_bundled_parts_are_concatenated_in_order():
    loaded = load_data("reviews")
    assert list(loaded) == ["train", "validation", "test"]
    assert loaded["train"]["id"][:] == [f"{part}-{number:04}" for part in PARTS for number in (0, 3)]
    assert loaded["validation"]["domain"][:] == list(PARTS)
    assert loaded["test"]["pair"][:] == ["films-p01", None, None]
    assert "split" not in loaded["train"].column_names
    assert loaded["test"].info.description == "reviews (films, restaurants, gadgets), test"


@pytest.mark.usefixtures("bundled")
@pytest.mark.parametrize("part", PARTS)
def test_a_bundled_part(part):
    loaded = load_data(f"reviews:{part}")
    assert loaded.num_rows == {"train": 2, "validation": 1, "test": 1}
    assert {row["domain"] for split in loaded.values() for row in split} == {part}


def test_the_real_bundled_reviews():
    loaded = load_data("reviews")
    assert list(loaded) == ["train", "validation", "test"]
    for split in loaded.values():
        for row in split:
            assert " ".join(row["tokens"]) == row["text"]
            assert len(row["rationale"]) == len(row["tokens"])
            assert set(row["rationale"]) <= {0, 1}
    parts = [load_data(f"reviews:{part}") for part in PARTS]
    assert loaded.num_rows == {name: sum(part[name].num_rows for part in parts) for name in loaded}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("yelpp", " did you mean 'yelp'?"),
        ("sst2", " did you mean 'sst'?"),
        ("reviews:film", " did you mean 'reviews:films' or 'reviews' or 'reviews:gadgets'?"),
        ("?", ""),
    ],
)
def test_an_unknown_name(name, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message_of(name) == f"unknown data set '{name}':{hint} Known: {KNOWN}"


@pytest.mark.parametrize(
    "path", [Path("gone"), Path("a/b"), "/gone/folder", "./gone", "a/b.JSONL", "gone.csv", "a/b/c"]
)
def test_a_path_that_is_not_there(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message_of(path) == f"there is no file or folder {Path(path)}"


def test_a_folder_without_splits(tmp_path):
    write(tmp_path / "dev.parquet")
    assert message_of(tmp_path) == (
        f"{tmp_path} has no file train, validation, test that ends in one of .parquet, .csv, .jsonl, .json"
    )


def test_a_folder_gives_the_splits_it_has_in_order(tmp_path):
    write(tmp_path / "validation.parquet")
    (tmp_path / "train.jsonl").write_text('{"text": "x", "label": 0}')
    (tmp_path / "extra.csv").write_text("not read")
    loaded = load_data(str(tmp_path))
    assert list(loaded) == ["train", "validation"]
    assert [name for name, split in loaded.items() if str(split.split) != name] == []
    assert loaded["validation"].to_list() == ROWS


def test_two_files_for_a_split(tmp_path):
    write(tmp_path / "train.parquet")
    (tmp_path / "train.csv").touch()
    assert message_of(tmp_path) == f"{tmp_path} has train.parquet and train.csv: which is the split?"


def test_a_name_wins_over_a_folder_of_that_name_but_not_over_a_path(own_copies, monkeypatch, tmp_path_factory):
    write(own_copies / "sst" / "train.parquet")
    here = tmp_path_factory.mktemp("here")
    (here / "sst").mkdir()
    write(here / "sst" / "test.parquet")
    monkeypatch.chdir(here)
    assert list(load_data("sst")) == ["train"]
    assert list(load_data("./sst")) == ["test"]
    assert list(load_data((here / "sst").relative_to(here))) == ["test"]


@pytest.mark.usefixtures("no_hub")
def test_an_own_copy_is_used_and_the_hub_is_not(own_copies):
    write(own_copies / "sst" / "train.parquet")
    write(own_copies / "sst" / "test.parquet")
    loaded = load_data("sst")
    assert loaded.num_rows == {"train": 2, "test": 2}
    assert loaded["test"].info.description == str(own_copies / "sst" / "test.parquet")


def test_an_own_copy_must_have_the_labels_of_the_catalogue(own_copies):
    path = own_copies / "sst" / "train.parquet"
    write(path, [{"text": "so-so", "label": 2}])
    assert message_of("sst") == f"{path}, row 1: label 2 is out of range, 0 to 1"
    assert load_data("sst", num_labels=3).num_rows == {"train": 1}


@pytest.mark.usefixtures("no_hub")
def test_without_an_own_copy_the_hub_is_asked(own_copies, monkeypatch):
    assert message_of("sst") == f"asked the hub for {CATALOGUE['sst'].hub}"
    assert message_of("imdb") == f"asked the hub for {CATALOGUE['imdb'].hub}"
    monkeypatch.delenv("REGEX_DATA")
    assert message_of("sst") == f"asked the hub for {CATALOGUE['sst'].hub}"


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["owner/name", "owner/na-me_1.0@main", "owner/name@refs/pr/1"])
def test_an_id_of_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message_of(name) == f"asked the hub for {name}"
    (tmp_path / "owner").mkdir()
    (tmp_path / name).mkdir(parents=True)
    assert message_of(name).startswith(f"{name} has no file train")


@pytest.mark.parametrize("name", [name for name, source in CATALOGUE.items() if not source.hub and not source.parts])
def test_data_that_must_be_an_own_copy(name):
    assert message_of(name) == (
        f"{name} must be your own copy ({CATALOGUE[name].edition}):"
        f" name in REGEX_DATA a folder that has {name}/{{train,validation,test}}.parquet"
    )


def test_regex_data_that_is_no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("REGEX_DATA", str(tmp_path / "gone"))
    assert message_of("sst") == f"REGEX_DATA names {tmp_path / 'gone'}, which is not a folder"


@pytest.mark.parametrize("num_labels", [1, 0, -2])
def test_too_few_labels(num_labels):
    assert message_of("sst", num_labels=num_labels) == f"num_labels must be at least 2, not {num_labels}"


def test_equal_files_give_equal_fingerprints(tmp_path):
    write(tmp_path / "train.parquet")
    assert load_data(tmp_path)["train"]._fingerprint == load_data(tmp_path)["train"]._fingerprint
