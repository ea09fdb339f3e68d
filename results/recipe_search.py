"""The search that chose the weights of the recipes: one training per job, measured on validation data only.

    python results/recipe_search.py [--processes 2] [--only regex]

SST (REGEX_DATA names the folder that has it), 2,000 training sentences, 3 layers of MiniLM, 3 epochs, seed 0. Accuracy
and calibration on all validation sentences; normalised sufficiency and comprehensiveness of each attribution on 200,
with [MASK] as the replacement, because fewer normalisers degenerate with it than with [PAD].

A recipe's weights in `regex_lib.training.RECIPES` are those with the highest mean of Integrated Gradients' sufficiency
and comprehensiveness among those whose accuracy is at most .01 below vanilla's; where none is, the most accurate.
"""

import json
from typing import Any

import pandas as pd
from grid import main

from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.models import load_classifier
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
]


def measure(recipe: str, changes: str, seed: int) -> pd.DataFrame:
    """One training; a row per attribution."""
    data = load_data("sst")
    classifier = load_classifier("minilm", layers=3, seed=seed)
    chosen = find_recipe(recipe).changed(**json.loads(changes))
    run = train(classifier, {"train": data["train"]}, chosen, seed=seed, max_train=2000, epochs=3)
    report = evaluate_faithfulness(classifier, data["validation"], replacement="mask", max_examples=200)
    scores = report.table[["attribution", "sufficiency", "comprehensiveness", "degenerate_share", "examples"]]
    return scores.assign(**classify(classifier, data["validation"]), seconds=run.seconds, device=run.device)


if __name__ == "__main__":
    jobs = [{"recipe": recipe, "changes": json.dumps(changes), "seed": 0} for recipe, changes in GRID]
    main(__doc__, __file__, jobs, measure)
