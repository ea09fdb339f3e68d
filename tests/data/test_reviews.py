"""The bundled corpus keeps what its data card promises."""

import itertools
import re
from collections import Counter, defaultdict
from importlib.resources import files
from pathlib import Path

import datasets
import nbformat
import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from regex_lib.data import load_data

DOMAINS = ("films", "restaurants", "gadgets")
HARD = ("negation", "contrast", "concession", "intensifier", "irony", "implicit", "comparative", "mixed")


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return [{**row, "split": name} for name, split in load_data("reviews").items() for row in split]


def words(row: dict) -> list[str]:
    return re.findall(r"[a-z0-9']+", row["text"].lower())


def grams(row: dict, n: int) -> set[tuple[str, ...]]:
    tokens = words(row)
    return set(zip(*(tokens[i:] for i in range(n)), strict=False))


def test_there_are_enough_reviews_of_each_kind(rows: list[dict]) -> None:
    assert len(rows) >= 1200
    assert min(Counter(row["domain"] for row in rows).values()) >= 400
    phenomena = Counter(row["phenomenon"] for row in rows)
    assert set(phenomena) == {"plain", *HARD}
    assert min(phenomena[name] for name in HARD) >= 60
    for name, split in itertools.groupby(rows, key=lambda row: row["split"]):
        labels = Counter(row["label"] for row in split)
        assert labels[0] == labels[1], name


def test_texts_are_five_to_sixty_words_and_rationales_are_aligned(rows: list[dict]) -> None:
    for row in rows:
        assert 5 <= len(row["tokens"]) <= 60, row["id"]
        assert row["text"].split() == row["tokens"], row["id"]
        assert len(row["rationale"]) == len(row["tokens"]), row["id"]
        assert 0 < sum(row["rationale"]) <= 0.6 * len(row["tokens"]) or len(row["tokens"]) < 8, row["id"]


def test_the_parts_make_up_the_whole(rows: list[dict]) -> None:
    parts = [row["id"] for domain in DOMAINS for split in load_data(f"reviews:{domain}").values() for row in split]
    assert sorted(parts) == sorted(row["id"] for row in rows)
    assert len(set(parts)) == len(parts)


def test_minimal_pairs_differ_in_label_and_little_else_and_stay_in_one_split(rows: list[dict]) -> None:
    pairs = defaultdict(list)
    for row in rows:
        if row["pair"] is not None:
            pairs[row["pair"]].append(row)
    assert len(pairs) >= 60
    for name, members in pairs.items():
        assert sorted(row["label"] for row in members) == [0, 1], name
        assert len({row["split"] for row in members}) == 1, name
        edited = Counter(members[0]["tokens"])
        edited.subtract(members[1]["tokens"])
        assert 1 <= sum(abs(count) for count in edited.values()) <= 12, name


def test_no_two_reviews_are_near_duplicates(rows: list[dict]) -> None:
    holders = defaultdict(list)
    four = [grams(row, 4) for row in rows]
    for number, own in enumerate(four):
        for gram in own:
            holders[gram].append(number)
    shared = Counter(pair for numbers in holders.values() for pair in itertools.combinations(numbers, 2))
    for (a, b), count in shared.items():
        if rows[a]["pair"] is None or rows[a]["pair"] != rows[b]["pair"]:
            assert count <= 0.5 * min(len(four[a]), len(four[b])), (rows[a]["id"], rows[b]["id"])


def test_no_phrase_and_no_opening_is_a_template(rows: list[dict]) -> None:
    singles = [
        row for i, row in enumerate(rows) if row["pair"] is None or row["pair"] not in {r["pair"] for r in rows[:i]}
    ]
    five = Counter(gram for row in singles for gram in grams(row, 5))
    assert max(five.values()) <= 6, five.most_common(3)
    openings = Counter(tuple(words(row)[:3]) for row in rows)
    assert max(openings.values()) <= 0.01 * len(rows), openings.most_common(3)


def test_a_bag_of_words_finds_the_labels_neither_trivial_nor_noise() -> None:
    splits = load_data("reviews")
    train = datasets.concatenate_datasets([splits["train"], splits["validation"]])
    vectors = TfidfVectorizer(ngram_range=(1, 2)).fit(train["text"])
    model = LogisticRegression(C=10, max_iter=1000).fit(vectors.transform(train["text"]), train["label"])
    accuracy = model.score(vectors.transform(splits["test"]["text"]), splits["test"]["label"])
    assert 0.6 <= accuracy <= 0.9, accuracy


def shown_in_the_data_card(row: str) -> float:
    """A number that the executed data card shows beside a name, in a table of one column."""
    twin = nbformat.read(Path(__file__).parents[2] / "book" / "data_card.ipynb", as_version=4)
    texts = [out["data"]["text/plain"] for cell in twin.cells for out in cell.get("outputs", []) if "data" in out]
    (line,) = {line for text in texts for line in text.splitlines() if re.fullmatch(rf"{row}\s+[\d.]+", line)}
    return float(line.split()[-1])


def test_a_fine_tuned_encoder_beats_the_bag_of_words() -> None:
    assert shown_in_the_data_card("minilm") > shown_in_the_data_card("bag of words")


def test_the_rationale_words_carry_the_label() -> None:
    assert shown_in_the_data_card("rationale words") >= shown_in_the_data_card("random words") + 0.10


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_files_load_through_datasets_with_the_schema_of_every_rationale_set(domain: str, tmp_path: Path) -> None:
    file = files("regex_lib.data") / "reviews" / f"{domain}.jsonl"
    split = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path))
    assert split.features["text"].dtype == "string"
    assert split.features["label"].dtype == "int64"
    assert split.features["tokens"].feature.dtype == "string"
    assert set(np.concatenate(split["rationale"])) == {0, 1}
