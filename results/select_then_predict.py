"""How good is a classifier that reads nothing but rationales? For each recipe and attribution, on SST (FRESH).

    python results/select_then_predict.py [--processes 2] [--only regex]

SST, IMDB and Yelp (REGEX_DATA names the folder that has them), 2,000 training sentences of SST, 3 layers of MiniLM, 3
epochs, 256 tokens at most, seeds 0 to 2, ratio .2, the highest words and the best stretch. Macro-F1 of the new
classifier on the rationales and of the support model on the full texts: all 1,821 test sentences of SST, and, out of
domain, 500 test texts of IMDB and of Yelp each.

Runs that `tables/select_then_predict.csv` already has are not done again.
"""

import pandas as pd
from grid import main

from regex_lib.data import load_data, other_domains
from regex_lib.models import TextClassifier, load_classifier
from regex_lib.rationales import select_then_predict
from regex_lib.training import train

RECIPES = ("vanilla", "robust", "egt", "regex", "regex_random_mask", "regex_shuffled_target")
ATTRIBUTIONS = ("random", "attention", "scaled_attention", "input_x_gradient", "integrated_gradients")
SIZES = {"max_train": 2000, "epochs": 3.0, "max_length": 256}


def job(recipe: str, seed: int) -> pd.DataFrame:
    """One support model, and a classifier for each attribution and shape of rationale."""
    data = load_data("sst")
    support = new_classifier(seed)
    train(support, {"train": data["train"]}, recipe, seed=seed, **SIZES)
    others = {name: load_data(name)["test"].shuffle(seed=0).select(range(500)) for name in other_domains("sst")}
    return pd.concat(
        select_then_predict(
            support, data, new_classifier, ATTRIBUTIONS, contiguous=contiguous, out_of_domain=others, seed=seed, **SIZES
        )
        for contiguous in (False, True)
    )


def new_classifier(seed: int) -> TextClassifier:
    """The encoder of all models."""
    return load_classifier("minilm", layers=3, seed=seed)


if __name__ == "__main__":
    runs = [{"recipe": recipe, "seed": seed} for seed in (0, 1, 2) for recipe in RECIPES]
    main(__doc__, __file__, runs, job)
