"""The search that chose the weights of the recipes: one training per job, measured on validation data only.

    python results/recipe_search.py [--processes 2] [--only regex]

SST (REGEX_DATA names the folder that has it), 2,000 training sentences, 3 layers of MiniLM, 3 epochs, seed 0. Accuracy
and calibration on all validation sentences; normalised sufficiency and comprehensiveness of each attribution on 200,
with [MASK] as the replacement, because fewer normalisers degenerate with it than with [PAD].

A recipe's weights in `regex_lib.training.RECIPES` are those with the highest mean of Integrated Gradients' sufficiency
and comprehensiveness among those whose accuracy is at most .01 below vanilla's; where none is, the most accurate.

Trainings that `tables/recipe_search.csv` already has are not done again.
"""

import argparse
import json
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
from regex_lib.study.work import provenance
from regex_lib.training import find_recipe, train

GRID: list[tuple[str, dict[str, Any]]] = [
    ("vanilla", {}),
    *(
        ("regex", {"igr_weight": igr, "vat_weight": vat, "kl_weight": kl})
        for igr, vat, kl in ((3e-4, 0.5, 0.02), (1e-2, 0.5, 0.02), (1e-2, 0.1, 0.005), (1e-2, 0.5, 0.005))
    ),
    *(("igr", {"igr_weight": weight}) for weight in (3e-4, 3e-3, 1e-2)),
    *(("vat", {"vat_weight": weight, "vat_epsilon": epsilon}) for weight, epsilon in ((0.5, 0.1), (1.0, 0.2))),
    *(("egt", {"kl_weight": weight}) for weight in (0.005, 0.02)),
    *(("saloss", {"kl_weight": weight}) for weight in (0.02, 0.2)),
    *(("saliency_guided", {"saliency_guided_weight": weight}) for weight in (0.3, 1.0)),
    *(("smart", {"smart_weight": 1.0, "smart_step": step}) for step in (1e-3, 1e-2)),
    *(("freelb", {"freelb_epsilon": epsilon}) for epsilon in (0.005, 0.02, 0.1)),
    ("random_mask_only", {}),
    *(("igr_random_mask", {"igr_weight": weight}) for weight in (3e-3, 1e-2)),
]


def main() -> None:
    """Do the trainings that the table lacks, and add their rows as they finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1, help="trainings at once, each with its share of the cores")
    parser.add_argument("--only", nargs="*", help="only these recipes")
    options = parser.parse_args()
    table = Path(__file__).parent / "tables" / "recipe_search.csv"
    rows = [pd.read_csv(table)] if table.exists() else []
    done = set(zip(rows[0]["recipe"], rows[0]["changes"], strict=True)) if rows else set()
    runs = [(recipe, json.dumps(changes)) for recipe, changes in GRID]
    waiting = [run for run in runs if run not in done and (not options.only or run[0] in options.only)]
    threads = max(1, torch.get_num_threads() // options.processes)
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        for finished in as_completed(pool.submit(measure, *run, threads) for run in waiting):
            rows.append(finished.result())
            pd.concat(rows).to_csv(table, index=False)
            print(rows[-1].to_string(index=False), flush=True)  # noqa: T201


def measure(recipe: str, changes: str, threads: int) -> pd.DataFrame:
    """One training; a row per attribution."""
    torch.set_num_threads(threads)
    datasets.disable_progress_bars()
    data = load_data("sst")
    classifier = load_classifier("minilm", layers=3, seed=0)
    chosen = find_recipe(recipe).changed(**json.loads(changes))
    run = train(classifier, {"train": data["train"]}, chosen, seed=0, max_train=2000, epochs=3)
    report = evaluate_faithfulness(classifier, data["validation"], replacement="mask", max_examples=200)
    scores = report.table[["attribution", "sufficiency", "comprehensiveness", "degenerate_share", "examples"]]
    quality = classify(classifier, data["validation"])
    commit = provenance(run.seconds)["commit"]
    facts = {"seconds": run.seconds, "device": run.device, "commit": commit, "torch": torch.__version__}
    names = {"recipe": recipe, "changes": changes, "seed": 0}
    return pd.concat([pd.DataFrame([names] * len(scores)), scores.assign(**quality, **facts).round(4)], axis=1)


if __name__ == "__main__":
    main()
