"""What an evaluation costs, in plain forward passes over the same texts, measured side by side in one process.

    python benchmarks/evaluation.py [--model FOLDER] [--data reviews] [--examples 64] [--rounds 3] [--bounds 16]
        [--memory 1000]

The unit is a forward pass without gradients over the texts, 64 at a time, tokenisation included: in the order of the
data, as a user would write it, and in the order of their lengths. Five attributions are evaluated; they are computed
before and not counted. For each protocol: the inputs asked for and run for each text; the time in both units; and its
efficiency, which is the time that the distinct inputs would take in full batches at their own lengths and without
anything else, over the time taken. Below, the same as plain loops, and captum. On a CPU the time is the process's own,
so that other programs count little.

`--ferret` names the Python of an environment with ferret-xai (`pip install ferret-xai "pyarrow<20"`), which cannot be
this one; it is measured there, in the same run, in its own plain passes in the order of the data. It needs `--model`.

`--bounds` compares the bounds of NAOPC that the two searches find, and what they cost. `--memory` tells by how much the
peak of memory grows while more and more examples are written to a folder. It comes first: a process's peak never falls,
and that of other work would hide the growth.
"""

import argparse
import contextlib
import functools
import json
import resource
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import captum.attr
import captum.metrics
import datasets
import torch

from regex_lib.attributions import METHODS, score_batch
from regex_lib.attributions.explain import length_batches
from regex_lib.data import load_data
from regex_lib.evaluation import ATTRIBUTIONS, evaluate_faithfulness
from regex_lib.evaluation.prediction import predictor
from regex_lib.evaluation.removals import Features, Removals
from regex_lib.masks import ranks, token_budget
from regex_lib.metrics import RATIOS, aopc_bounds, normalised_comprehensiveness, normalised_sufficiency
from regex_lib.models import TextClassifier, TokenBatch, load_classifier

BATCH = 64
PAPER = ("sufficiency", "comprehensiveness")
BOUNDED = {"metrics": ("naopc_sufficiency", "naopc_comprehensiveness"), "level": "word", "replacement": "mask"}
BEAM = {name: {"method": "beam", "beam_size": 5} for name in BOUNDED["metrics"]}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "the paper's": {"metrics": PAPER},
    "the paper's, deleting": {"metrics": PAPER, "replacement": "delete"},
    "with leave-one-out tau": {"metrics": (*PAPER, "loo_tau")},
    "with tau and flips": {"metrics": (*PAPER, "loo_tau", "decision_flip", "flip_fraction")},
    "NAOPC, local search": BOUNDED,
    "NAOPC, beam of 5": BOUNDED | {"metric_options": BEAM},
}


def main() -> None:
    """Measure every protocol, and its rivals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--data", default="reviews")
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--protocols", nargs="*", default=list(PROTOCOLS), choices=list(PROTOCOLS), metavar="PROTOCOL")
    parser.add_argument("--without-rivals", action="store_true")
    parser.add_argument("--ferret", metavar="PYTHON", help="where ferret-xai is installed")
    parser.add_argument("--bounds", type=int, default=0)
    parser.add_argument("--memory", type=int, nargs="*", default=[])
    sizes = parser.parse_args()
    datasets.disable_progress_bars()

    classifier = load_classifier(sizes.model, layers=sizes.layers)
    rows = load_data(sizes.data)["test"].select(range(sizes.examples)).select_columns(["text", "label"])
    texts = list(rows["text"])
    if sizes.memory:
        print(f"peak memory before: {_peak_memory():.1f} MiB")
    for count in sorted(sizes.memory):
        _write_results(classifier, texts, count)
        print(f"peak memory after {count:7} examples: {_peak_memory():8.1f} MiB", flush=True)

    batch = classifier.tokenize(texts)
    tokens = batch.content_mask.sum(dim=1).float().mean()
    print(
        f"{classifier.model.config.num_hidden_layers} layers, {len(texts)} texts of {sizes.data}, {tokens:.1f} tokens"
    )
    print(f"{classifier.device}, {torch.get_num_threads()} threads, median of {sizes.rounds} rounds")
    in_order = [list(range(len(texts)))[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    units = [lambda b=b: _plain(classifier, texts, b) for b in (in_order, list(length_batches(texts, BATCH)))]
    target, scores = _attributions(classifier, batch)

    def row(name: str, work: Callable[[], object], asked: str = "", run: str = "", ideal: float = 0.0) -> None:
        times = [_in_units(work, units, classifier.device) for _ in range(sizes.rounds)]
        seconds, *ratios = (statistics.median(column) for column in zip(*times, strict=True))
        efficiency = f"{ideal / seconds:12.2f}" if ideal else ""
        print(f"{name:36}{asked:>8}{run:>8}{ratios[0]:10.1f}{ratios[1]:11.1f}{efficiency}", flush=True)

    print(f"\n{'for each text':36}{'asked':>8}{'run':>8}{'by order':>10}{'by length':>11}{'efficiency':>12}")
    with _known_attributions(batch, scores):
        for name in sizes.protocols:
            work = lambda name=name: evaluate_faithfulness(classifier, rows, batch_size=BATCH, **PROTOCOLS[name])  # noqa: E731
            asked, lengths = _counted(classifier, work)
            per_text = (f"{count / len(texts):.1f}" for count in (asked, lengths.total()))
            row(name, work, *per_text, _ideal_seconds(classifier, lengths))
    if not sizes.without_rivals:
        row("plain loop: the paper's", lambda: _plain_erasure(classifier, batch, scores, target))
        row("plain loop: leave-one-out tau", lambda: _plain_leave_one_out(classifier, batch, scores, target))
        row("captum: leave-one-out, once", lambda: _captum_leave_one_out(classifier, batch, target))
    if sizes.ferret:
        for name, passes in _ferret(sizes.ferret, sizes.model, texts, sizes.rounds).items():
            print(f"{name + ', ONE attribution':52}{passes:10.1f}", flush=True)
    if sizes.bounds:
        _compare_bounds(classifier, texts[: sizes.bounds])


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """On a CPU the process's own time; on a GPU the clock's."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def _in_units(work: Callable[[], object], units: list[Callable[[], None]], device: torch.device) -> list[float]:
    """Seconds, and multiples of each unit, which is measured before and after."""
    before = [_seconds(unit, device) for unit in units]
    seconds = _seconds(work, device)
    after = [_seconds(unit, device) for unit in units]
    return [seconds, *(2 * seconds / (first + last) for first, last in zip(before, after, strict=True))]


@torch.inference_mode()
def _plain(classifier: TextClassifier, texts: list[str], batches: list[list[int]]) -> None:
    """A forward pass over the texts."""
    for rows in batches:
        batch = classifier.tokenize([texts[row] for row in rows])
        classifier(classifier.embed(batch.input_ids), batch.attention_mask)


def _probabilities(classifier: TextClassifier, ids: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The target's probability for inputs of one length."""
    with torch.inference_mode():
        logits = classifier(classifier.embed(ids), torch.ones_like(ids, dtype=torch.bool)).logits
        return logits.double().softmax(dim=-1)[:, target]


def _attributions(classifier: TextClassifier, batch: TokenBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The predicted classes, and the scores of every attribution."""
    with torch.no_grad():
        target = classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits.argmax(dim=-1)
    return target, {name: score_batch(classifier, batch, name, target) for name in ATTRIBUTIONS}


@contextlib.contextmanager
def _known_attributions(batch: TokenBatch, scores: dict[str, torch.Tensor]) -> Iterator[None]:
    """Attributions that cost nothing: they look their scores up."""
    ids = [tuple(row[attended].tolist()) for row, attended in zip(batch.input_ids, batch.attention_mask, strict=True)]

    def look_up(name: str) -> Callable[..., torch.Tensor]:
        known = dict(zip(ids, scores[name], strict=True))

        def method(_classifier: TextClassifier, batch: TokenBatch, _target: torch.Tensor, **_: Any) -> torch.Tensor:
            rows = zip(batch.input_ids, batch.attention_mask, strict=True)
            return torch.stack([known[tuple(r[a].tolist())][: batch.input_ids.shape[1]] for r, a in rows])

        return method

    with mock.patch.dict(METHODS, {name: look_up(name) for name in scores}):
        yield


def _counted(classifier: TextClassifier, work: Callable[[], object]) -> tuple[int, Counter[int]]:
    """How many inputs are asked for; and how many run, by their lengths."""
    asked, lengths = [], Counter()
    probabilities = Removals.probabilities

    def counted(removals: Removals, example_index: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
        asked.append(len(removed))
        return probabilities(removals, example_index, removed)

    def note(_module: Any, _inputs: Any, named: dict[str, torch.Tensor]) -> None:
        lengths.update(named["attention_mask"].sum(dim=1).tolist())

    handle = classifier.model.register_forward_pre_hook(note, with_kwargs=True)
    with mock.patch.object(Removals, "probabilities", counted):
        work()
    handle.remove()
    return sum(asked), lengths


def _ideal_seconds(classifier: TextClassifier, lengths: Counter[int]) -> float:
    """What inputs of these lengths cost in full batches of one length, and nothing else."""
    return sum(_batch_seconds(classifier, length) / BATCH * count for length, count in lengths.items())


@functools.cache
def _batch_seconds(classifier: TextClassifier, length: int) -> float:
    """The quickest of three full batches."""
    ids = torch.full((BATCH, length), classifier.mask_id, device=classifier.device)
    return min(_seconds(lambda: _probabilities(classifier, ids, 0), classifier.device) for _ in range(3))


def _plain_erasure(
    classifier: TextClassifier, batch: TokenBatch, scores: dict[str, torch.Tensor], target: torch.Tensor
) -> None:
    """Sufficiency and comprehensiveness from their definitions: a batch for each text and attribution."""
    for text, (ids, attended, content) in enumerate(_rows(batch)):
        for values in scores.values():
            place = ranks(values[text : text + 1, : len(ids)], content[None])[0]
            tops = [(place < token_budget(content[None], ratio)) & content for ratio in RATIOS]
            removed = torch.stack([~attended, content, *(content & ~top for top in tops), *tops])
            p = _probabilities(classifier, ids.masked_fill(removed, classifier.pad_id), target[text])
            normalised_sufficiency(p[0], p[2:6], p[1]).mean()
            normalised_comprehensiveness(p[0], p[6:], p[1]).mean()


def _plain_leave_one_out(
    classifier: TextClassifier, batch: TokenBatch, scores: dict[str, torch.Tensor], target: torch.Tensor
) -> None:
    """What each attribution is compared with, again for each attribution."""
    for text, (ids, attended, content) in enumerate(_rows(batch)):
        left_out = torch.eye(len(ids), dtype=torch.bool, device=ids.device)[content]
        for _ in scores:
            removed = torch.cat([~attended[None], left_out])
            _probabilities(classifier, ids.masked_fill(removed, classifier.pad_id), target[text])


def _captum_leave_one_out(classifier: TextClassifier, batch: TokenBatch, target: torch.Tensor) -> None:
    """Text by text, the copies of a text in one batch."""
    for text, (ids, _, content) in enumerate(_rows(batch)):
        features = (content.cumsum(dim=0) * content)[None]  # special tokens are feature 0
        ablation = captum.attr.FeatureAblation(lambda ids, text=text: _probabilities(classifier, ids, target[text]))
        ablation.attribute(
            ids[None], baselines=classifier.pad_id, feature_mask=features, perturbations_per_eval=len(ids)
        )


def _rows(batch: TokenBatch) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Ids, attention mask and content mask of each text, without padding."""
    for attended, *row in zip(batch.attention_mask, batch.input_ids, batch.content_mask, strict=True):
        ids, content = (part[attended] for part in row)
        yield ids, attended[attended], content


def _compare_bounds(classifier: TextClassifier, texts: list[str]) -> None:
    """The lowest and highest AOPC that the searches find, mean over the texts, and their cost for each text."""
    batch = classifier.tokenize(texts)
    features = Features.of(batch, texts, "word")
    print(f"\n{f'bounds of AOPC, {len(texts)} texts':36}{'lower':>8}{'upper':>8}{'inputs':>8}")
    for method in ("local", "beam"):
        removals = Removals(classifier, predictor(classifier), batch, features, replacement="mask")
        bounds = aopc_bounds(removals, features.mask, method=method)
        count = bounds.evaluations.double().mean()
        print(f"{method:36}{bounds.lower.mean():8.4f}{bounds.upper.mean():8.4f}{count:8.1f}", flush=True)


def _ferret(python: str, model: str, texts: list[str], rounds: int) -> dict[str, float]:
    """Medians, in ferret's own plain passes."""
    task = {"model": model, "texts": texts, "rounds": rounds, "threads": torch.get_num_threads()}
    rival = [python, str(Path(__file__).parent / "rivals" / "ferret_evaluation.py")]
    done = subprocess.run(rival, input=json.dumps(task), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"ferret failed: {done.stderr.strip().splitlines()[-1]}")
    ratios: dict[str, list[float]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            ratios.setdefault(found["name"], []).append(found["seconds"] / found["unit"])
    return {name: statistics.median(values) for name, values in ratios.items()}


def _write_results(classifier: TextClassifier, texts: list[str], count: int) -> None:
    """Evaluate so many short texts, each different, with the results written to a folder."""
    short = [" ".join(text.split()[:5]) for text in texts]

    def rows() -> Iterator[dict[str, Any]]:
        return ({"text": f"{short[i % len(short)]} {i}", "label": 0} for i in range(count))

    with tempfile.TemporaryDirectory() as folder:
        dataset = datasets.Dataset.from_generator(rows, cache_dir=folder)  # which stays on the disk
        evaluate_faithfulness(classifier, dataset, ["random"], ratios=(0.5,), output_dir=f"{folder}/shards")


def _peak_memory() -> float:
    """The highest that this process's memory has been, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
