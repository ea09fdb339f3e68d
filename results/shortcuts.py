"""Does each attribution find a shortcut that the model is verified to use? For each recipe, on SST.

    python results/shortcuts.py [--processes 2] [--only regex]

SST (REGEX_DATA names the folder that has it), 2,000 training sentences and 1,000 copies with the shortcut, 3 layers of
MiniLM, 3 epochs, seeds 0 to 2. The conditions are checked on all 1,821 test sentences; precision@k and mean rank of the
planted words on 200. A model that does not use its shortcut has no numbers, and the conditions that it fails.

Runs that `tables/shortcuts.csv` already has are not done again.
"""

import pandas as pd
from grid import main

from regex_lib.checks import evaluate_shortcuts
from regex_lib.data import load_data
from regex_lib.models import load_classifier

RECIPES = ("vanilla", "robust", "egt", "regex", "regex_random_mask", "regex_shuffled_target")
ATTRIBUTIONS = (
    *("random", "attention", "scaled_attention", "gradient_norm", "input_x_gradient", "integrated_gradients"),
    *("deep_lift", "leave_one_out"),
)


def job(recipe: str, seed: int) -> pd.DataFrame:
    """All kinds of shortcut for one recipe and seed."""
    return evaluate_shortcuts(
        lambda seed: load_classifier("minilm", layers=3, seed=seed),
        load_data("sst"),
        recipe,
        attributions=ATTRIBUTIONS,
        seed=seed,
        unverified="flag",
        epochs=3.0,
    )


if __name__ == "__main__":
    runs = [{"recipe": recipe, "seed": seed} for seed in (0, 1, 2) for recipe in RECIPES]
    main(__doc__, __file__, runs, job)
