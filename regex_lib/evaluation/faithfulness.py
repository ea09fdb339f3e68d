"""One model, one data set, many attributions: one table of faithfulness.

Texts are taken in chunks of similar length. What all attributions and metrics remove from the texts of a chunk is
planned first; repeats are dropped; the rest runs in full batches: one forward pass per distinct input.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from regex_lib.errors import UserError
from regex_lib.evaluation.measuring import measure
from regex_lib.evaluation.prediction import Precision, predictor
from regex_lib.evaluation.protocol import Convention, Protocol, names_of, plain_or_named
from regex_lib.evaluation.removals import Level, Replacement
from regex_lib.evaluation.report import FaithfulnessReport
from regex_lib.evaluation.shards import ShardFolder, Shards, frames_of
from regex_lib.metrics import RATIOS, classification_report
from regex_lib.models import TextClassifier, evaluating
from regex_lib.models.rows import labelled_texts

__all__ = ["ATTRIBUTIONS", "DEFAULT_METRICS", "evaluate_faithfulness"]

ATTRIBUTIONS = ("random", "attention", "scaled_attention", "input_x_gradient", "integrated_gradients")
"""What is evaluated by default: the control first."""

DEFAULT_METRICS = ("sufficiency", "comprehensiveness")
"""The metrics of Chrysostomou & Aletras 2022."""


def evaluate_faithfulness(
    classifier: TextClassifier,
    dataset: datasets.Dataset | pd.DataFrame,
    attributions: Sequence[str] = ATTRIBUTIONS,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    ratios: Sequence[float] = RATIOS,
    aopc: Convention = "mean",
    level: Level = "token",
    replacement: Replacement = "pad",
    batch_size: int = 64,
    max_examples: int | None = None,
    max_length: int | None = None,
    seed: int = 0,
    options: dict[str, dict[str, Any]] | None = None,
    metric_options: dict[str, dict[str, Any]] | None = None,
    precision: Precision = "fp32",
    compiled: bool = False,
    output_dir: str | Path | None = None,
    shard_size: int = 128,
    progress: Callable[[int], None] | bool = False,
) -> FaithfulnessReport:
    """How faithful several attributions are to one model, on the same examples.

    The explained class is the predicted one. Of each text the ceil(ratio x n) of its n content tokens with the highest
    scores are the rationale; of equal scores the earlier token's counts as higher, here and in every other metric. By
    default removed tokens are replaced in place and stay attended, so that lengths and positions do not change.

    Metrics by their names in :data:`regex_lib.evaluation.METRICS`, higher is better unless said otherwise:

    - ``sufficiency``, ``comprehensiveness``: normalised (Carton et al. 2020), in [0, 1], AOPC over the ratios.
    - ``eraser_sufficiency`` (lower is better), ``eraser_comprehensiveness``: plain differences of probabilities
      (DeYoung et al. 2020), in [-1, 1], AOPC over the ratios. They depend on how far a model's prediction can fall.
    - ``naopc_sufficiency``, ``naopc_comprehensiveness``: whole removal curves, between the lowest and the highest area
      that any ranking attains (Edin et al. 2024), in [0, 1]; options ``method`` and ``beam_size`` as in
      :func:`regex_lib.metrics.aopc_bounds`. The authors' setting is ``level="word", replacement="mask"``.
    - ``decision_flip``: the share of texts whose class changes without the top token. ``flip_fraction`` (lower is
      better): the smallest share of tokens, top first, whose removal changes it; 1 where none does.
    - ``loo_tau``: Kendall's tau-b with the drops of leaving out one token, in [-1, 1].
    - ``monotonicity``: the share of steps at which adding the next more important token does not lower the probability.
    - ``soft_sufficiency``, ``soft_comprehensiveness``: parts of tokens' vectors are removed (Zhao and Aletras 2023).
    - ``infidelity`` (lower is better): how badly scores predict what random removals do (Yeh et al. 2019).
    - ``max_sensitivity`` (lower is better): how far scores move under noise. It falls by construction when a model is
      trained to be robust, so that it is refused unless another metric stands beside it.

    Started by ``accelerate launch`` or ``torchrun``, each process measures its share of the shards, and all get the
    whole report; load the classifier onto ``accelerate.PartialState().device``, and let them share one output folder.

    Args:
        classifier: what to explain; put into evaluation mode for the time of the call.
        dataset: rows of ``text`` and ``label``: a data set of any format, or a table.
        attributions: names in :data:`regex_lib.attributions.METHODS`.
        metrics: names in :data:`regex_lib.evaluation.METRICS`.
        ratios: the sizes of the rationale.
        aopc: how the ratios are averaged; see :func:`regex_lib.metrics.area_over_perturbation_curve`.
        level: what is ranked and removed as one: a ``"token"``, or a ``"word"`` with the sum of its tokens' scores.
        replacement: what removed tokens become: the tokenizer's ``"pad"`` token, as in Chrysostomou & Aletras 2022, or
            its ``"mask"`` token; ``"delete"`` makes the text shorter; with ``"attention"`` nothing attends to them.
        batch_size: masked inputs per forward pass. Results do not depend on it, but for rounding.
        max_examples: evaluate so many examples, drawn with the seed; all by default.
        max_length: cut longer texts; the model's maximum by default.
        seed: of the drawn examples and of the random attribution.
        options: options of single methods by their names, such as ``{"integrated_gradients": {"n_steps": 50}}``.
        metric_options: the same for metrics, such as ``{"naopc_sufficiency": {"method": "beam"}}``.
        precision: ``"bf16"`` runs the masked inputs in bfloat16, for GPUs; attributions keep the weights' precision,
            but for leave-one-out where it asks for the same inputs.
        compiled: run the masked inputs through ``torch.compile``.
        output_dir: write per-example results here, shard by shard, instead of keeping them, so that memory does not
            grow with the data; a second start skips the shards that are finished. A shard is found again by all that
            its results depend on: texts, labels, weights, tokenizer and settings. A method or metric of one's own is
            known by its name only.
        shard_size: texts that are planned, and written, together.
        progress: true for a progress bar; or what is called with the number of examples just finished.

    Returns:
        The report.

    Raises:
        UserError: if a name or an option is unknown, a setting or a label is out of its range, the data has other
            columns, no rows or a text that is no string, no example has content, the model or an attribution gives no
            numbers, or the output folder cannot be written to.

    References:
        DeYoung et al. 2020, section 4; Carton et al. 2020; Chrysostomou and Aletras 2022, section 3.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> rows = datasets.Dataset.from_dict({"text": ["A fine film.", "Dull, dull, dull."], "label": [1, 0]})
        >>> report = evaluate_faithfulness(load_classifier("minilm", layers=1), rows, ["random", "attention"])
        >>> report.table[["attribution", "examples"]].values.tolist()
        [['random', 2], ['attention', 2]]
    """
    protocol = Protocol(
        attributions=names_of("attributions", attributions),
        metrics=names_of("metrics", metrics),
        ratios=tuple(map(float, ratios)),
        aopc=aopc,
        level=level,
        replacement=replacement,
        max_length=max_length,
        precision=precision,
        options={"random": {"seed": seed}} | (options or {}),
        metric_options=metric_options or {},
    )
    for name, value in (("batch_size", batch_size), ("shard_size", shard_size)):
        if value < 1:
            raise UserError(f"{name} must be 1 or more, got {value}")
    dataset = labelled_texts(dataset, classifier)
    rows = _draw(dataset, max_examples, seed)
    shards = [rows[start : start + shard_size] for start in range(0, len(rows), shard_size)]
    folder = None if output_dir is None else ShardFolder(Path(output_dir), classifier, protocol)
    names = [folder.name(shard, **dataset[shard]) for shard in shards] if folder else []
    predict = predictor(classifier, precision=precision, compiled=compiled)
    process, processes = _processes()
    measured = []
    with evaluating(classifier), _advancing(progress, sum(map(len, shards[process::processes]))) as advance:
        for number in range(process, len(shards), processes):
            if folder is None or not folder.has(names[number]):
                texts = dataset[shards[number]]
                frame = measure(
                    classifier, predict, texts["text"], texts["label"], shards[number], protocol, batch_size
                )
                if folder is None:
                    measured.append(frame)
                else:
                    folder.write(names[number], frame)
            advance(len(shards[number]))
    if processes > 1:  # and nobody goes on before all are done
        measured = gather_object(measured)
    kept = [frame for frame in measured if len(frame)]
    results = Shards(folder.folder, names) if folder else pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()
    report = _report(results, protocol, seed, classifier.num_labels, len(rows))
    if folder is not None and process == 0:
        report.to_parquet(folder.folder)
    return report


def _draw(dataset: datasets.Dataset, max_examples: int | None, seed: int) -> list[int]:
    """Indices of the examples to evaluate, short texts first."""
    rows = list(range(len(dataset)))
    if max_examples is not None:
        if max_examples < 1:
            raise UserError(f"max_examples must be 1 or more, got {max_examples}")
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
        rows = order[:max_examples].tolist()
    lengths = [len(text) for text in dataset["text"]]
    return sorted(rows, key=lambda row: (lengths[row], row))


def _processes() -> tuple[int, int]:
    """The number of this process, and how many share the work."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    state = PartialState()
    return state.process_index, state.num_processes


@contextmanager
def _advancing(progress: Callable[[int], None] | bool, total: int) -> Iterator[Callable[[int], object]]:
    """What to call with the number of finished examples."""
    if callable(progress):
        yield progress
    else:
        with tqdm(total=total, desc="evaluating", unit="example", disable=not progress) as bar:
            yield bar.update


def _report(
    results: pd.DataFrame | Shards, protocol: Protocol, seed: int, classes: int, texts: int
) -> FaithfulnessReport:
    facts, sums, counts = [], [], []
    for frame in frames_of(results):
        facts.append(
            frame.loc[frame["attribution"] == protocol.attributions[0], ["label", "prediction", "probability"]]
        )
        points = frame.filter(like="@").groupby(frame["attribution"], sort=False)
        sums.append(points.sum())
        counts.append(points.count())
    if not facts:
        raise UserError("no text has content tokens: there is nothing to evaluate")
    labels, predictions, confidence = (torch.from_numpy(column) for column in pd.concat(facts).to_numpy(copy=True).T)
    # The classification needs no more of the probabilities than the largest, and of which class it is.
    probabilities = torch.zeros(len(labels), classes, dtype=torch.float64)
    probabilities.scatter_(1, predictions.long()[:, None], confidence[:, None])
    total, count = (pd.concat(parts).groupby(level=0, sort=False).sum() for parts in (sums, counts))
    means = total / count  # over the examples that have a score
    options = {"options": protocol.options, "metric_options": protocol.metric_options}
    metrics = dict.fromkeys(name.partition("@")[0] for name in means)
    points = [
        {"attribution": name, "ratio": ratio, **{metric: means.loc[name, f"{metric}@{ratio}"] for metric in metrics}}
        for name in protocol.attributions
        for ratio in protocol.ratios
    ]
    return FaithfulnessReport(
        examples=results,
        curves=pd.DataFrame(points),
        classification=classification_report(probabilities, labels.long()),
        settings={
            "metrics": list(protocol.metrics),
            "ratios": list(protocol.ratios),
            "aopc": protocol.aopc,
            "level": protocol.level,
            "replacement": protocol.replacement,
            "precision": protocol.precision,
            "max_length": protocol.max_length,
            "seed": seed,
            **json.loads(json.dumps(options, default=plain_or_named)),
            "left_out": texts - len(labels),
        },
    )
