"""Ground truth: does an attribution find a shortcut that the model is verified to use?

The protocol of Bastings et al. 2022. Words that decide are planted into the data, a model is trained on it by any
recipe, the model is verified to rest on these words, and only then attributions are asked for them. Nothing is erased,
so recipes and models can be compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import nan
from typing import Any, Literal

import datasets
import pandas as pd

from regex_lib.checks.reading import align, check_methods, explain_texts, padded_marks, predict_texts, token_spans
from regex_lib.checks.verification import ShortcutLimits, verify_shortcut
from regex_lib.data import SHORTCUTS, Shortcut, plant
from regex_lib.errors import UserError
from regex_lib.evaluation import ATTRIBUTIONS
from regex_lib.metrics import planted_precision, planted_rank
from regex_lib.models import TextClassifier
from regex_lib.training import Recipe, train

__all__ = ["evaluate_shortcuts", "shortcut_scores", "training_data_with_shortcut"]


def training_data_with_shortcut(
    rows: datasets.Dataset, shortcut: Shortcut, *, copies: float = 0.5, within: int | None = 100, seed: int = 0
) -> datasets.Dataset:
    """The training texts, and copies of some of them with the shortcut planted.

    The clean texts stay, so that the model sees as many of them as one trained without shortcuts. Of the copies, one in
    three has only one word of a shortcut of two, and its own label.

    Args:
        rows: rows of ``text`` and ``label``.
        shortcut: the rule.
        copies: how many copies, as a share of the texts.
        within: only among the first so many words; None for anywhere.
        seed: of which texts, classes and places.

    Raises:
        UserError: if ``copies`` is not above 0 and at most 1, or a text has a planted word already.

    Example:
        >>> from regex_lib.data import load_data
        >>> clean = load_data("reviews")["train"]
        >>> planted = training_data_with_shortcut(clean, Shortcut("ordered_pair"))
        >>> len(clean), len(planted), planted[-1]["text"].count("isotope")
        (1200, 1800, 1)
    """
    if not 0 < copies <= 1:
        raise UserError(f"copies must be above 0 and at most 1, got {copies}")
    rows = rows.select_columns(["text", "label"])
    chosen = rows.shuffle(seed=seed).select(range(max(1, round(copies * len(rows)))))
    share = 2 / 3 if shortcut.has_parts else 1.0
    copied = plant(chosen, shortcut, share=share, parts=1 - share, within=within, seed=seed)
    copied = datasets.Dataset.from_dict(copied.select_columns(["text", "label"])[:], features=rows.features)
    return datasets.concatenate_datasets([rows, copied])


def shortcut_scores(
    classifier: TextClassifier,
    planted: datasets.Dataset,
    attributions: Sequence[str] = ATTRIBUTIONS,
    *,
    max_length: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """How high attributions rank planted words, per text.

    The model must be verified before: see :func:`regex_lib.checks.verify_shortcut`. Units are the words between white
    space; the scores of a word's tokens are summed, but for ``random``. Texts that the model classifies otherwise than
    the shortcut says are left out.

    Args:
        classifier: what to explain.
        planted: from :func:`regex_lib.data.plant`.
        attributions: names in :data:`regex_lib.attributions.METHODS`.
        max_length: cut longer texts; the model's maximum by default.
        batch_size: texts per pass.
        seed: of the random attribution.
        options: of single methods, by their names.

    Returns:
        One row per text and attribution: ``example, attribution, precision, mean_rank, planted, words``.

    Raises:
        UserError: if the model classifies no text as its shortcut says, or a name or an option is unknown.
    """
    rows = [row | {"number": number} for number, row in enumerate(planted) if row["planted"]]
    predictions = predict_texts(classifier, [row["text"] for row in rows], max_length=max_length).argmax(dim=-1)
    rows = [row for row, prediction in zip(rows, predictions.tolist(), strict=True) if prediction == row["label"]]
    if not rows:
        raise UserError("the model classifies no text as its shortcut says: verify it first")
    explained = explain_texts(
        classifier, [row["text"] for row in rows], attributions, long_texts="truncate", batch_size=batch_size,
        max_length=max_length, options={"random": {"seed": seed}, **(options or {})},
    )  # fmt: skip
    spans = [token_spans(row["text"], row["tokens"]) for row in rows]
    true = padded_marks([row["rationale"] for row in rows])
    frames = []
    for name, explanations in explained.items():
        scores, read = align(explanations, spans)
        frames.append(
            pd.DataFrame(
                {
                    "example": [row["number"] for row in rows],
                    "attribution": name,
                    "precision": planted_precision(scores, true, read).numpy(),
                    "mean_rank": planted_rank(scores, true, read).numpy(),
                    "planted": (true & read).sum(dim=-1).numpy(),
                    "words": read.sum(dim=-1).numpy(),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def evaluate_shortcuts(
    new_classifier: Callable[[int], TextClassifier],
    data: Mapping[str, datasets.Dataset],
    recipe: Recipe | str = "vanilla",
    shortcuts: Sequence[Shortcut] = tuple(map(Shortcut, SHORTCUTS)),
    attributions: Sequence[str] = ATTRIBUTIONS,
    *,
    seed: int = 0,
    max_train: int = 2000,
    max_test: int | None = None,
    max_examples: int = 200,
    copies: float = 0.5,
    within: int | None = 100,
    limits: ShortcutLimits | None = None,
    unverified: Literal["raise", "flag"] = "raise",
    max_length: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    **training: Any,
) -> pd.DataFrame:
    """Train by a recipe with and without planted shortcuts, verify, and ask attributions for what was planted.

    One training without shortcuts, and one for each shortcut.

    Args:
        new_classifier: makes an untrained classifier from a seed.
        data: clean splits ``train`` and ``test``.
        recipe: any recipe, or its name.
        shortcuts: what to plant; each kind once by default.
        attributions: names in :data:`regex_lib.attributions.METHODS`; ``random`` is the floor.
        seed: of everything random.
        max_train: clean training texts, the first of a shuffled train split.
        max_test: test texts to verify on, drawn likewise; all by default.
        max_examples: planted test texts to explain.
        copies: how many planted copies are added for training, as a share of the clean texts.
        within: plant only among the first so many words; None for anywhere.
        limits: from where on a model counts as using the shortcut.
        unverified: what to do with a model that does not: raise an error, or leave its numbers empty and say why.
        max_length: cut longer texts; the model's maximum by default.
        options: of single attribution methods, by their names.
        **training: more for :func:`regex_lib.training.train`, such as ``epochs``.

    Returns:
        One row per shortcut and attribution: ``recipe, shortcut, seed, attribution, precision, mean_rank, planted,
        words, examples, verified, failures``, then the numbers of the verification and ``train_texts``. Precision is at
        k, the number of planted words; both metrics are empty where ``verified`` is false.

    Raises:
        UserError: if a model does not use its shortcut, with the conditions that fail; a name or an option is unknown;
            or a setting is out of range.

    References:
        Bastings et al. 2022.
    """
    if unverified not in ("raise", "flag"):
        raise UserError(f"unverified must be 'raise' or 'flag', got {unverified!r}")
    check_methods(attributions, options or {})
    clean, test = _first(data["train"], max_train), _first(data["test"], max_test)

    def trained(rows: datasets.Dataset) -> TextClassifier:
        classifier = new_classifier(seed)
        train(classifier, {"train": rows}, recipe, seed=seed, max_length=max_length, **training)
        return classifier

    control = trained(clean)
    frames = []
    for shortcut in shortcuts:
        rows = training_data_with_shortcut(clean, shortcut, copies=copies, within=within, seed=seed)
        classifier = trained(rows)
        result = verify_shortcut(
            classifier, control, test, shortcut, limits=limits, within=within, max_length=max_length, seed=seed
        )
        if not result.verified and unverified == "raise":
            raise UserError(f"the model does not use the shortcut {shortcut.kind}: {'; '.join(result.failures)}")
        if result.verified:
            planted = plant(_first(test, max_examples), shortcut, within=within, seed=seed)
            scores = shortcut_scores(
                classifier, planted, attributions, max_length=max_length, seed=seed, options=options
            )
            groups = scores.groupby("attribution", sort=False)
            found = groups[["precision", "mean_rank", "planted", "words"]].mean().assign(examples=groups.size())
        else:
            empty = {"precision": nan, "mean_rank": nan, "planted": nan, "words": nan, "examples": 0}
            found = pd.DataFrame(empty, index=pd.Index(attributions, name="attribution"))
        facts = {**asdict(result), "verified": result.verified, "failures": "; ".join(result.failures)}
        frames.append(found.reset_index().assign(shortcut=shortcut.kind, **facts, train_texts=len(rows)))
    name = recipe if isinstance(recipe, str) else "custom"
    table = pd.concat(frames, ignore_index=True).assign(recipe=name, seed=seed)
    leading = ["recipe", "shortcut", "seed"]
    return table[[*leading, *table.columns.difference(leading, sort=False)]]


def _first(rows: datasets.Dataset, count: int | None) -> datasets.Dataset:
    """The first so many rows in the order in which training takes them."""
    if count is None:
        return rows
    if count < 1:
        raise UserError(f"max_train, max_test and max_examples must be 1 or more, got {count}")
    return rows.shuffle(seed=0).select(range(min(count, len(rows))))
