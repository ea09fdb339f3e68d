"""What a training step of each recipe costs, in steps of `vanilla`, measured side by side in one process.

    python benchmarks/training.py [--layers 3] [--batch 32] [--rounds 7] [--data reviews] [--recipes regex regex_fast]
        [--csv results/tables/training_steps.csv]

For the recipes, and for `regex` with four steps of Integrated Gradients, as multiples of vanilla's: median time,
counted floating-point operations (matrix products and attention, not element-wise work) and peak memory of a step
beyond the weights. Their efficiency, operations / time, is 1 where a recipe wastes nothing. On a GPU also in bfloat16.
All terms of a recipe are on in a measured step. There is no such step of `regex_two_stage`: those of its first half are
steps of `robust`, those of its second half steps of `egt`; it takes the mean of their times, and the larger memory.
`--csv` adds the rows to a table, in place of older ones of the same device and sizes.
"""

import argparse
import contextlib
import statistics
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from regex_lib.data import load_data
from regex_lib.models import TokenBatch, load_classifier
from regex_lib.study.work import provenance
from regex_lib.training import RECIPES, RegexObjective
from regex_lib.training.run import device_name

PROGRESS = 0.6
"""The time in a training, from 0 to 1, of the steps that are measured."""
MEASURED = [name for name, recipe in RECIPES.items() if recipe.robust_until > PROGRESS]
"""The recipes whose terms are all on at that time."""


def main() -> None:
    """Measure the recipes at every precision of the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", default="reviews")
    parser.add_argument("--recipes", nargs="*", default=MEASURED, choices=MEASURED, metavar="RECIPE")
    parser.add_argument("--csv", type=Path)
    sizes = parser.parse_args()

    classifier = load_classifier("minilm", layers=sizes.layers)
    texts = load_data(sizes.data)["train"].select(range(1000))
    by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]["text"]))
    middle = (len(texts) - sizes.batch) // 2  # texts of similar length, as in training
    rows = texts.select(by_length[middle : middle + sizes.batch])
    batch, labels = classifier.tokenize(rows["text"]), torch.tensor(rows["label"], device=classifier.device)
    recipes = {"vanilla": RECIPES["vanilla"]} | {name: RECIPES[name] for name in sizes.recipes}
    if "regex" in recipes:
        recipes["regex, 4 IG steps"] = RECIPES["regex"].changed(attribution_steps=4)
    objectives = {name: RegexObjective(classifier, recipe).train() for name, recipe in recipes.items()}

    print(f"{sizes.layers} layers, {sizes.batch} texts of {sizes.data}, {batch.input_ids.shape[1]} tokens, ", end="")
    print(f"{classifier.device}, {torch.get_num_threads()} threads, median of {sizes.rounds} rounds")
    precisions = ("fp32", "bf16") if labels.is_cuda else ("fp32",)
    tables = [_compare(objectives, batch, labels, sizes.rounds, precision) for precision in precisions]
    for table in tables:
        print(f"\n{table.drop(columns='precision').round(2).to_string(index=False)}")
    if sizes.csv:
        _add(pd.concat(tables), sizes, tokens=batch.input_ids.shape[1], device=classifier.device)


def _add(table: pd.DataFrame, sizes: argparse.Namespace, tokens: int, device: torch.device) -> None:
    """The rows in the file, with where and at what size they were measured."""
    made = provenance(0.0)
    table = table.assign(
        device=device_name(device), layers=sizes.layers, texts=sizes.batch, tokens=tokens, data=sizes.data
    )
    table = table.assign(rounds=sizes.rounds, commit=made["commit"], torch=made["packages"]["torch"])
    if sizes.csv.exists():
        table = pd.concat([pd.read_csv(sizes.csv), table])
        table = table.drop_duplicates(
            ["device", "layers", "texts", "tokens", "data", "precision", "recipe"], keep="last"
        )
    table.round(2).to_csv(sizes.csv, index=False)


def _compare(
    objectives: dict[str, RegexObjective], batch: TokenBatch, labels: torch.Tensor, rounds: int, precision: str
) -> pd.DataFrame:
    def step(objective: RegexObjective) -> None:
        """One forward and backward pass with every term of the recipe on."""
        with torch.autocast(labels.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = objective(batch.input_ids, batch.attention_mask, batch.content_mask, labels, PROGRESS)["loss"]
        loss.backward()
        objective.zero_grad(set_to_none=True)
        if labels.is_cuda:
            torch.cuda.synchronize()

    operations, memory, seconds = {}, {}, {name: [] for name in objectives}
    for name, objective in objectives.items():
        with _operations() as counter:
            step(objective)
        operations[name] = counter.get_total_flops()
        memory[name] = _peak_memory(lambda objective=objective: step(objective), on_gpu=labels.is_cuda)
    for _ in range(rounds):  # in turns, so that noise of the machine meets all of them
        for name, objective in objectives.items():
            started = time.perf_counter()
            step(objective)
            seconds[name].append(time.perf_counter() - started)

    # Each round's own ratio: a slow moment of the machine then spoils one round, not one recipe.
    table = pd.DataFrame({
        "time": {
            name: statistics.median(a / b for a, b in zip(times, seconds["vanilla"], strict=True))
            for name, times in seconds.items()
        },
        "operations": {name: count / operations["vanilla"] for name, count in operations.items()},
        "memory": {name: size / memory["vanilla"] for name, size in memory.items()},
    })  # fmt: skip
    table.insert(2, "efficiency", table["operations"] / table["time"])
    return table.rename_axis("recipe").reset_index().assign(precision=precision)


class _NoModules(contextlib.nullcontext):
    """In place of the counter's tracker of modules."""

    parents = ("Global",)


@contextlib.contextmanager
def _operations() -> Iterator[FlopCounterMode]:
    counter = FlopCounterMode(display=False)
    # Its tracking of modules cannot follow torch.autograd.grad, and only the total is wanted.
    counter.mod_tracker = _NoModules()
    with counter:
        yield counter


class _TensorMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, while they are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        torch.utils._pytree.tree_map_only(torch.Tensor, self._count, result)
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self._seen:
            self._seen.add(storage)
            self.alive += storage.nbytes()
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._freed, storage.nbytes())

    def _freed(self, size: int) -> None:
        self.alive -= size


def _peak_memory(step: Callable[[], None], *, on_gpu: bool) -> int:
    """Bytes of tensors alive at once during a step beyond those alive before it."""
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with _TensorMemory() as memory:
        step()
    return memory.peak


if __name__ == "__main__":
    main()
