"""A study that is small enough to be run many times: a tiny encoder, a few texts, and a measurement that counts."""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

TEXTS = ["a fine film", "dull and very bad acting", "great plot", "never", "not great not bad", "a dull film"]


def toml(value) -> str:
    """A value as TOML writes it: JSON, but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value)


class World(NamedTuple):
    """Where a study finds things."""

    folder: Path
    model: Path
    data: Path

    def study(self, measures, *, recipes=("vanilla",), seeds=(0,), extra="", **train):
        """Writes the description of a study, with a table of each measure, and returns its path."""
        lines = ['modules = ["counted"]', "[train]"]
        train = {"epochs": 1, "batch_size": 4} | train
        lines += [f"{name} = {json.dumps(value)}" for name, value in train.items()]
        lines += ["[grid]", f"data = {json.dumps([str(self.data)])}", f"models = {json.dumps([str(self.model)])}"]
        lines += [f"recipes = {json.dumps(recipes)}", f"seeds = {json.dumps(seeds)}", extra]
        for measure in measures:
            lines += ["[[measure]]", *(f"{name} = {toml(value)}" for name, value in measure.items())]
        path = self.folder / "study.toml"
        path.write_text("\n".join(lines) + "\n")
        return path


@pytest.fixture(scope="session")
def encoder(make_tiny, tmp_path_factory) -> Path:
    """A folder with an encoder that has no head yet."""
    folder = tmp_path_factory.mktemp("encoder")
    classifier = make_tiny("bert")
    classifier.model.base_model.save_pretrained(folder)
    classifier.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def world(encoder, tmp_path, monkeypatch) -> World:
    data = tmp_path / "data"
    data.mkdir()
    for split, times in (("train", 2), ("validation", 1), ("test", 1)):
        rows = pd.DataFrame({"text": TEXTS * times, "label": [1, 0, 1, 0, 1, 0] * times})
        rows.to_json(data / f"{split}.jsonl", orient="records", lines=True)
    (tmp_path / "notes").mkdir()
    monkeypatch.setenv("COUNTED_NOTES", str(tmp_path / "notes"))
    return World(tmp_path, encoder, data)
