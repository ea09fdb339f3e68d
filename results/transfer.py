"""Trained on one data set, explained on the others of its family: F1, and faithfulness minus random attribution's.

    python results/transfer.py [--processes 2] [--only regex]

SST, IMDB and Yelp among themselves, and AmazPantry, AmazInstr (the 2014 edition in our copy) and MDSD music, the
stand-in for AmazDigiMu (REGEX_DATA names the folder that has them). 2,000 training texts, 3 layers of MiniLM, 3
epochs, 256 tokens at most, seeds 0 to 2. Macro-F1 on 2,000 test texts, drawn; normalised sufficiency and
comprehensiveness on 200 of them, with [MASK] and with [PAD] as the replacement. Labels are mapped by their names: a
model of two classes is tested on the texts that are not neutral.

Runs that `tables/transfer.csv` already has are not done again.
"""

import pandas as pd
from grid import main

from regex_lib.checks import evaluate_transfer
from regex_lib.data import CATALOGUE, DOMAINS, load_data, map_labels
from regex_lib.models import load_classifier
from regex_lib.training import train

RECIPES = ("vanilla", "robust", "egt", "regex", "regex_random_mask", "regex_shuffled_target")
MISSING = ("amaz_digimu",)
"""What our copy does not have."""
SIZES = {"max_train": 2000, "epochs": 3.0, "max_length": 256}


def job(recipe: str, seed: int, source: str) -> pd.DataFrame:
    """One training, tested in its family, the training data's own test split first."""
    names = CATALOGUE[source].label_names
    classifier = load_classifier("minilm", num_labels=len(names), layers=3, seed=seed)
    classifier.label_names = names
    train(classifier, {"train": load_data(source)["train"]}, recipe, seed=seed, **SIZES)
    family = next(members for members in DOMAINS.values() if source in members)
    tests = {}
    for name in sorted(family, key=lambda name: name != source):
        if name not in MISSING:
            mapped = map_labels(load_data(name)["test"], name, names)
            tests[name] = mapped.shuffle(seed=0).select(range(min(2000, len(mapped))))
    return pd.concat(
        evaluate_transfer(
            classifier, tests, max_examples=200, max_length=SIZES["max_length"], seed=seed, replacement=replacement
        ).assign(replacement=replacement)
        for replacement in ("mask", "pad")
    )


if __name__ == "__main__":
    runs = [
        {"recipe": recipe, "seed": seed, "source": source}
        for members in DOMAINS.values()
        for source in members
        if source not in MISSING
        for seed in (0, 1, 2)
        for recipe in RECIPES
    ]
    main(__doc__, __file__, runs, job)
