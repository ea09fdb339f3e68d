"""Train by a recipe, measure, and add a row to a table: what the scripts of this folder share."""

import argparse
import json
import subprocess
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import torch

from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.models import load_classifier
from regex_lib.training import find_recipe, train

SIZES = {"max_train": 2000, "epochs": 3.0}
LAYERS = 3
EXAMPLES = 200
ATTRIBUTIONS = ("random", "attention", "scaled_attention", "input_x_gradient", "integrated_gradients")
REPLACEMENTS = {"validation": ("mask",), "test": ("mask", "pad")}


def main(description: str, table: Path, runs: list[tuple[str, dict[str, Any], int]], splits: tuple[str, ...]) -> None:
    """Do the runs that the table lacks.

    Args:
        description: of the script.
        table: a .csv file, which grows by a row per finished run, split, replacement and attribution. Beside it, what
            was measured of each example is kept as .parquet.
        runs: recipe, its changes, and seed.
        splits: what to measure on.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1, help="trainings at once, each with its share of the cores")
    parser.add_argument("--only", nargs="*", help="only these recipes")
    parser.add_argument("--keep", type=Path, help="keep the trained models in this folder")
    options = parser.parse_args()
    examples = table.with_suffix(".parquet")
    rows, measured = [
        [read(file)] if file.exists() else [] for read, file in ((pd.read_csv, table), (pd.read_parquet, examples))
    ]
    done = {tuple(run) for run in rows[0][["recipe", "changes", "seed"]].to_numpy().tolist()} if rows else set()
    waiting = [
        run
        for run in runs
        if (run[0], json.dumps(run[1]), run[2]) not in done and (not options.only or run[0] in options.only)
    ]
    threads = max(1, torch.get_num_threads() // options.processes)
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        for finished in as_completed(pool.submit(measure, *run, splits, threads, options.keep) for run in waiting):
            for tables, new in zip((rows, measured), finished.result(), strict=True):
                tables.append(new)
            pd.concat(measured).to_parquet(examples, index=False)
            pd.concat(rows).to_csv(table, index=False)
            print(rows[-1].to_string(index=False), flush=True)  # noqa: T201


def measure(
    recipe: str, changes: dict[str, Any], seed: int, splits: tuple[str, ...], threads: int, keep: Path | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One training; means per split, replacement and attribution, and what was measured of each example."""
    torch.set_num_threads(threads)
    datasets.disable_progress_bars()
    data = load_data("sst")
    classifier = load_classifier("minilm", layers=LAYERS, seed=seed)
    run = train(
        classifier,
        {"train": data["train"]},
        find_recipe(recipe).changed(**changes),
        seed=seed,
        output_dir=keep and keep / f"sst-{recipe}-{seed}",
        **SIZES,
    )
    names = ["attribution", "sufficiency", "comprehensiveness"]
    means, examples = [], []
    for split in splits:
        quality = classify(classifier, data[split])
        for replacement in REPLACEMENTS[split]:
            report = evaluate_faithfulness(
                classifier, data[split], ATTRIBUTIONS, replacement=replacement, max_examples=EXAMPLES
            )
            facts = {
                "recipe": recipe, "changes": json.dumps(changes), "seed": seed, "split": split,
                "replacement": replacement,
            }  # fmt: skip
            means.append(report.table[[*names, "degenerate_share", "examples"]].assign(**facts, **quality))
            examples.append(report.examples[["example", *names, "degenerate"]].assign(**facts))
    provenance = {"seconds": run.seconds, "device": run.device, "commit": _commit(), "torch": run.packages["torch"]}
    return tuple(  # type: ignore[return-value]
        pd.concat(tables)[lambda table: [*facts, *table.columns.difference([*facts], sort=False)]].round(4)
        for tables in ([table.assign(**provenance) for table in means], examples)
    )


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
