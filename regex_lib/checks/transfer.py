"""Out of domain: a model trained on one data set, and its explanations, on the others of its family.

Faithfulness out of domain can be higher than in domain, and mislead (Chrysostomou and Aletras 2022): a model that is
less sure loses its prediction more easily. So each attribution is compared with the random one on the same texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import pandas as pd
import torch
from sklearn.metrics import f1_score

from regex_lib.checks.reading import predict_texts
from regex_lib.errors import UserError
from regex_lib.evaluation import ATTRIBUTIONS, DEFAULT_METRICS, evaluate_faithfulness
from regex_lib.evaluation.protocol import names_of
from regex_lib.metrics import paired_bootstrap
from regex_lib.models import TextClassifier
from regex_lib.models.rows import labelled_texts

__all__ = ["evaluate_transfer"]


def evaluate_transfer(
    classifier: TextClassifier,
    tests: Mapping[str, datasets.Dataset | pd.DataFrame],
    attributions: Sequence[str] = ATTRIBUTIONS,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    max_examples: int | None = None,
    max_length: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> pd.DataFrame:
    """Macro-F1, and faithfulness minus that of the random attribution, on several test sets.

    Args:
        classifier: trained on one of the data sets, or on another.
        tests: rows of ``text`` and ``label``, in a data set of any format or a table, by the data set's name, that of
            the training data first. Labels must be the model's: see :func:`regex_lib.data.map_labels`.
        attributions: names in :data:`regex_lib.attributions.METHODS`; ``random`` is added where it is missing.
        metrics: names in :data:`regex_lib.evaluation.METRICS`.
        max_examples: explain so many examples of each set, drawn with the seed; all by default. Accuracy and F1 are of
            all of them.
        max_length: cut longer texts; the model's maximum by default.
        seed: of the drawn examples and of the random attribution.
        **settings: more for :func:`regex_lib.evaluation.evaluate_faithfulness`, such as ``replacement``.

    Returns:
        One row per data set, attribution and metric: ``data, attribution, metric, score, over_random, low, high``
        (the mean difference with the random attribution on the same texts, with a 95 % confidence interval over
        texts), ``macro_f1, accuracy`` (of all the set's texts), ``degenerate_share, explained, examples``. Macro-F1 is
        the mean over the classes that the set has, so that a model of three classes is not blamed for a class that the
        texts do not have; predicting it there is an error all the same.

    Raises:
        UserError: if there is no test set, or one has other columns, splits or no rows; a label is not one of the
            model's classes; or a name is unknown.

    References:
        Chrysostomou and Aletras 2022, sections 3 and 5.

    Example:
        >>> from regex_lib.data import load_data
        >>> from regex_lib.models import load_classifier
        >>> tests = {name: load_data(name)["test"].select(range(4)) for name in ("reviews:films", "reviews:gadgets")}
        >>> table = evaluate_transfer(load_classifier("minilm", layers=1), tests, ["attention"], ["sufficiency"])
        >>> table[["data", "attribution", "examples"]].values.tolist()[:2]
        [['reviews:films', 'random', 4], ['reviews:films', 'attention', 4]]
        >>> float(table["over_random"][0])
        0.0
    """
    if not tests:
        raise UserError("there is no test set")
    sets = {data: labelled_texts(test, classifier) for data, test in tests.items()}
    names = list(dict.fromkeys(["random", *names_of("attributions", attributions)]))
    metrics = names_of("metrics", metrics)
    rows = []
    for data, test in sets.items():
        quality = _quality(classifier, test, max_length)
        report = evaluate_faithfulness(
            classifier, test, names, metrics, max_examples=max_examples, max_length=max_length, seed=seed, **settings
        )
        degenerate = report.table.set_index("attribution")["degenerate_share"]
        for metric in metrics:
            scores = report.examples.pivot(index="example", columns="attribution", values=metric)
            random = torch.tensor(scores["random"].to_numpy())
            for name in names:
                ours = torch.tensor(scores[name].to_numpy())
                interval = paired_bootstrap(ours, random, seed=seed)
                rows.append(
                    {
                        "data": data,
                        "attribution": name,
                        "metric": metric,
                        "score": float(ours.nanmean()),
                        "over_random": interval.estimate,
                        "low": interval.low,
                        "high": interval.high,
                        **quality,
                        "degenerate_share": degenerate[name],
                        "explained": len(scores),
                        "examples": len(test),
                    }
                )
    return pd.DataFrame(rows)


def _quality(classifier: TextClassifier, test: datasets.Dataset, max_length: int | None) -> dict[str, float]:
    labels = test["label"][:]
    predicted = predict_texts(classifier, test["text"][:], max_length=max_length).argmax(dim=-1).tolist()
    macro_f1 = f1_score(labels, predicted, labels=sorted(set(labels)), average="macro", zero_division=0.0)
    accuracy = sum(a == b for a, b in zip(labels, predicted, strict=True)) / len(labels)
    return {"macro_f1": float(macro_f1), "accuracy": accuracy}
