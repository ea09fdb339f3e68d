"""Training for robust predictions and guided attention."""

from regex_lib.training.objective import RegexObjective
from regex_lib.training.recipe import RECIPES, Recipe, find_recipe
from regex_lib.training.run import TrainingRun, read_run, train
from regex_lib.training.trainer import RegexTrainer, tokenize_dataset

__all__ = [
    "RECIPES",
    "Recipe",
    "RegexObjective",
    "RegexTrainer",
    "TrainingRun",
    "find_recipe",
    "read_run",
    "tokenize_dataset",
    "train",
]
