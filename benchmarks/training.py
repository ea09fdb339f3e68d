"""What a training step of each recipe costs, in steps of `vanilla`, measured side by side in one process.

    python benchmarks/training.py [--layers 3] [--batch 32] [--rounds 5]

Prints time and counted floating-point operations as multiples of vanilla's, and their quotient: 1 means that a recipe
wastes nothing beyond the arithmetic it needs.
"""

import argparse
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from regex_lib.data import load_data
from regex_lib.models import TokenBatch, load_classifier
from regex_lib.training import RECIPES, RegexObjective


def step(objective: RegexObjective, batch: TokenBatch, labels: torch.Tensor) -> None:
    """One forward and backward pass with every term of the recipe on."""
    objective(batch.input_ids, batch.attention_mask, batch.content_mask, labels, 0.6)["loss"].backward()
    objective.zero_grad(set_to_none=True)
    if labels.is_cuda:
        torch.cuda.synchronize()


def main() -> None:
    """Time the recipes in turns, so that noise of the machine meets all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    sizes = parser.parse_args()

    classifier = load_classifier("minilm", layers=sizes.layers)
    rows = load_data("reviews")["train"].select(range(sizes.batch))
    batch = classifier.tokenize(rows["text"])
    labels = torch.tensor(rows["label"], device=classifier.device)
    objectives = {name: RegexObjective(classifier, recipe).train() for name, recipe in RECIPES.items()}

    operations, seconds = {}, {name: [] for name in objectives}
    for name, objective in objectives.items():
        with FlopCounterMode(display=False) as counter:
            step(objective, batch, labels)
        operations[name] = counter.get_total_flops()
    for _ in range(sizes.rounds):
        for name, objective in objectives.items():
            started = time.perf_counter()
            step(objective, batch, labels)
            seconds[name].append(time.perf_counter() - started)

    print(f"{sizes.layers} layers, batches of {sizes.batch} texts of {batch.input_ids.shape[1]} tokens")
    print(f"on {classifier.device}, {torch.get_num_threads()} threads, median of {sizes.rounds} rounds\n")
    print(f"{'recipe':24}{'time':>8}{'operations':>12}{'efficiency':>12}")
    vanilla = statistics.median(seconds["vanilla"])
    for name in objectives:
        time_ratio = statistics.median(seconds[name]) / vanilla
        work_ratio = operations[name] / operations["vanilla"]
        print(f"{name:24}{time_ratio:8.2f}{work_ratio:12.2f}{work_ratio / time_ratio:12.2f}")


if __name__ == "__main__":
    main()
