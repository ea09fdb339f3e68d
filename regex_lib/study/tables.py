"""Tables of a study: means of every cell, and each recipe minus another, paired by seed and example."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from regex_lib.errors import UserError
from regex_lib.metrics import calibration_error_terms, macro_f1_terms, paired_bootstrap
from regex_lib.study.measurements import FACTS, IDENTITY
from regex_lib.study.store import Store
from regex_lib.study.tasks import Job, Task

__all__ = [
    "collect",
    "costs",
    "coverage",
    "differences",
    "export",
    "means",
    "metric_minus_metric",
    "read_export",
    "scores",
]

MODEL = ("data", "model", "recipe", "seed")
"""Columns that tell which model a row is about."""

NUMBERS = ("mean", "base_mean", "difference", "low", "high", "p_value", "seeds", "examples", "seeds_above")
"""The columns of a comparison that are no names of its cell."""


def collect(jobs: Iterable[Job], store: Store) -> pd.DataFrame:
    """All rows of what is finished, one task's after another's: names are categories, scores are float32.

    Raises:
        UserError: if nothing is finished.
    """
    done = [task for job in jobs for task in job.tasks if store.has(task)]
    if not done:
        raise UserError(f"nothing of this study is finished in {str(store.folder)!r}: `regex-lib study run` does it")
    frames = [store.read(task).assign(**_names(task, store)) for task in done]
    table = pd.concat(frames, ignore_index=True)
    texts = table.select_dtypes(["object", "str", "category"]).columns.difference(FACTS)
    numbers = table.select_dtypes("number").columns.difference(["seed", "example", *FACTS])
    facts = {name: kind for name, kind in ({"example": "Int32"} | FACTS).items() if name in table}
    return table.astype(dict.fromkeys(texts, "category") | dict.fromkeys(numbers, "float32") | facts)


def _with_terms(part: pd.DataFrame) -> pd.DataFrame:
    """Macro-F1 and calibration error as terms of the examples that add up to them.

    A measurement has them in all its rows. So they would seem to be the same for any other texts, and their intervals
    would know of the luck of seeds alone. Macro-F1 may count classes that no label has, with 0: it and all its terms
    are smaller by the same factor then.
    """
    if "probability" not in part or "macro_f1" not in part:
        return part
    part = part.copy()
    for _, rows in part.dropna(subset=["macro_f1", "probability"]).groupby("task", observed=True):
        label, predicted = (torch.tensor(rows[name].to_numpy("int64")) for name in ("label", "prediction"))
        confidence = torch.tensor(rows["probability"].to_numpy("float32"))
        f1, ece = macro_f1_terms(label, predicted), calibration_error_terms(confidence, label == predicted)
        if (of_present := float(f1.mean())) > 0:
            f1 *= float(rows["macro_f1"].iloc[0]) / of_present
        for name, terms in (("macro_f1", f1), ("ece", ece)):
            part.loc[rows.index, name] += (terms - terms.mean()).numpy().astype("float32")
    return part


def _names(task: Task, store: Store) -> dict[str, Any]:
    """What the rows of a task go by, as text: a number such as max_examples is no score."""
    names = {name: value if name == "seed" else str(value) for name, value in task.labels.items()}
    if task.kind == "train":
        provenance = store.facts(task)["provenance"]
        names |= {"device": provenance["device"], "threads": str(provenance["threads"])}
    return {"kind": task.kind, **names, "task": task.hash}


def export(jobs: Iterable[Job], store: Store, path: str | Path) -> None:
    """Write all rows to one file, with configuration and provenance of every task in its metadata.

    Raises:
        UserError: if nothing is finished, or the file cannot be written.
    """
    jobs = list(jobs)
    rows = collect(jobs, store)
    facts = {task.hash: store.facts(task) for job in jobs for task in job.tasks if store.has(task)}
    table = pa.Table.from_pandas(rows, preserve_index=False)
    table = table.replace_schema_metadata((table.schema.metadata or {}) | {b"regex_study": json.dumps(facts).encode()})
    try:
        pq.write_table(table, path, compression="zstd", compression_level=19)
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def read_export(path: str | Path) -> pd.DataFrame:
    """The rows that :func:`export` wrote.

    Raises:
        UserError: if the file is not one of those.
    """
    try:
        if b"regex_study" not in (pq.read_metadata(path).metadata or {}):
            raise UserError(f"{str(path)!r} is not the export of a study")
        return pd.read_parquet(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"cannot read {str(path)!r}: {error}") from error


def scores(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per score: names of the cell, ``seed``, ``example``, ``metric`` and ``value``.

    Args:
        rows: from :func:`collect`. What has no examples counts as example 0; undefined scores are left out.

    Raises:
        UserError: if nothing is measured.
    """
    frames = []
    for kind, part in rows.groupby("kind", sort=False, observed=True):
        if kind != "train":
            part = _with_terms(part).dropna(axis="columns", how="all").drop(columns=["task", *FACTS], errors="ignore")
            numbers = part.select_dtypes(["number", "bool"]).columns.difference(["seed", *IDENTITY])
            names = part.columns.difference(numbers, sort=False)
            frames.append(part.melt(names, var_name="metric").dropna(subset="value"))
    if not frames:
        raise UserError("nothing is measured yet")
    table = pd.concat(frames, ignore_index=True)
    table["example"] = table["example"].fillna(0).astype(int) if "example" in table else 0
    names = [name for name in table if name not in ("seed", "example", "value")]
    table = table.astype(dict.fromkeys(names, "category"))
    return table.drop_duplicates([*names, "seed", "example"])


def means(table: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and metric: the mean over seeds and examples, and the standard deviation of the seeds' means.

    Args:
        table: from :func:`scores`.
    """
    rows = []
    for names, grid in _grids(table):
        spread = grid.mean(axis=1).std()
        shape = {"seeds": len(grid), "examples": grid.shape[1]}
        rows.append(names | {"mean": grid.stack().mean(), "seed_sd": spread} | shape)
    return _tidy(rows)


def differences(table: pd.DataFrame, base: str) -> pd.DataFrame:
    """Each recipe minus another, in the same cell: the mean difference, with its 95 % interval and p-value.

    Only seeds and examples that both have are compared; ``mean`` and ``base_mean`` are of these. Where ``minus`` is
    "random", the score of the random attribution of each model has been subtracted first, which takes out what a recipe
    does to any explanation. Agreement with the model of the next seed shares models between its rows, which its
    interval allows for. ``seeds_above`` says for how many seeds the difference is above 0. P-values are not
    corrected for their number.

    Args:
        table: from :func:`scores`.
        base: the recipe to compare with.

    Raises:
        UserError: if nothing is measured of the base, or of any other recipe.
    """
    grids = {tuple(names.items()): grid for names, grid in _grids(table)}
    if not any(dict(names)["recipe"] == base for names in grids):
        raise UserError(f"nothing is measured of the recipe {base!r} yet")

    def grid_of(names: dict[str, Any], **other: str) -> pd.DataFrame | None:
        return grids.get(tuple((names | other).items()))

    rows = []
    for key, ours in grids.items():
        names = dict(key)
        theirs = grid_of(names, recipe=base)
        if names["recipe"] == base or theirs is None:
            continue
        ring = names.get("against") == "other_seed"
        rows.append(names | {"base": base, "minus": ""} | _compare(ours, theirs, ring))
        if names.get("attribution", "random") != "random":
            our_random = grid_of(names, attribution="random")
            their_random = grid_of(names, attribution="random", recipe=base)
            if our_random is not None and their_random is not None:
                over = _compare(_minus(ours, our_random), _minus(theirs, their_random), ring)
                rows.append(names | {"base": base, "minus": "random"} | over)
    if not rows:
        raise UserError(f"no other recipe is measured where {base!r} is")
    return _tidy(rows)


def metric_minus_metric(table: pd.DataFrame, metric: str, other: str) -> pd.DataFrame:
    """One metric minus another in every cell that has both: means, and the difference as in :func:`differences`.

    Args:
        table: from :func:`scores`.
        metric: a metric; its mean is the column of its name, as the other's is.
        other: what is subtracted.
    """
    grids = {tuple(names.items()): grid for names, grid in _grids(table)}
    rows = []
    for key, grid in grids.items():
        names = dict(key)
        theirs = grids.get(tuple((names | {"metric": other}).items()))
        if names.pop("metric") == metric and theirs is not None:
            rows.append(names | _compare(grid, theirs))
    return _tidy(rows).rename(columns={"mean": metric, "base_mean": other})


def costs(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per training: seconds, memory in MiB, texts, and the last losses.

    Args:
        rows: from :func:`collect`.
    """
    table = rows[rows["kind"] == "train"]
    if table.empty:
        return pd.DataFrame(columns=list(MODEL))
    table = table.dropna(axis="columns", how="all").drop(columns=["kind", "task"])
    return table[[*MODEL, *table.columns.difference(MODEL, sort=False)]].reset_index(drop=True)


def coverage(jobs: Iterable[Job], store: Store) -> pd.DataFrame:
    """What tables are made of: a row for each recipe and measurement.

    ``done`` of ``planned`` tasks are finished; ``seeds`` are those of which all are. ``first`` and ``last`` are the
    days of the measurements, ``commits`` the library's then, ``devices`` where.

    Args:
        jobs: from :func:`regex_lib.study.plan`.
        store: where their results are.
    """
    names = ["data", "model", "recipe", "kind", "replacement", "level"]
    rows = []
    for task in dict.fromkeys(task for job in jobs for task in job.tasks):
        labels = dict.fromkeys([*names, "seed"], "") | task.labels | {"kind": task.kind}
        done = store.has(task)
        made = store.facts(task)["provenance"] if done else {}
        rows.append(labels | {"done": done} | {name: made.get(name) for name in ("date", "commit", "device")})
    return pd.DataFrame(rows).groupby(names, sort=False).apply(_covered, include_groups=False).reset_index()


def _covered(tasks: pd.DataFrame) -> pd.Series:
    finished = tasks.groupby("seed")["done"].all()
    done = tasks[tasks["done"]]
    return pd.Series({
        "done": len(done), "planned": len(tasks), "seeds": _listed(finished.index[finished]),
        "first": done["date"].min()[:10] if len(done) else "", "last": done["date"].max()[:10] if len(done) else "",
        "commits": _listed(done["commit"]), "devices": _listed(done["device"]),
    })  # fmt: skip


def _listed(values: Iterable[Any]) -> str:
    return " ".join(map(str, sorted(set(values))))


def _grids(table: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The scores of each cell and metric, seeds by examples."""
    names = [name for name in table if name not in ("seed", "example", "value")]
    for key, rows in table.groupby(names, sort=False, observed=True, dropna=False):
        cell = {name: "" if pd.isna(value) else value for name, value in zip(names, key, strict=True)}
        yield cell, rows.pivot(index="seed", columns="example", values="value")


def _minus(grid: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Of the seeds and examples that both have."""
    grid, other = grid.align(other, join="inner")
    return grid - other


def _compare(ours: pd.DataFrame, theirs: pd.DataFrame, ring: bool = False) -> dict[str, Any]:
    ours, theirs = (grid.dropna(axis="columns") for grid in ours.align(theirs, join="inner"))
    ours, theirs = ours.align(theirs, join="inner")  # what has no number in one seed of either is not compared
    first, second = _tensor(ours), _tensor(theirs)
    interval = paired_bootstrap(first, second, ring=ring)
    return {
        "mean": first.mean().item(), "base_mean": second.mean().item(),
        "difference": interval.estimate, "low": interval.low, "high": interval.high, "p_value": interval.p_value,
        "seeds": interval.seeds, "examples": interval.examples,
        "seeds_above": int(((ours - theirs).mean(axis=1) > 0).sum()),
    }  # fmt: skip


def _tensor(grid: pd.DataFrame) -> torch.Tensor:
    return torch.tensor(grid.to_numpy(dtype="float64"))


def _tidy(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Four decimals, four digits of scores that are small, and no column that says nothing."""
    table = pd.DataFrame(rows)
    sizes = table[[name for name in ("mean", "base_mean") if name in table]].abs().max(axis=1)
    small = sizes.between(0, 0.01, inclusive="neither")
    decimals = (4 - np.ceil(np.log10(sizes.where(small, 1.0)))).astype(int)
    for count, part in table.groupby(decimals):
        table.loc[part.index] = part.round(dict.fromkeys(part.select_dtypes("float"), int(count)) | {"p_value": 4})
    return table[[name for name in table if not (table[name] == "").all()]]
