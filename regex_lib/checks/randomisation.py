"""Does an attribution depend on what the model has learned? Tests against other seeds, other labels, random weights.

Everywhere both models explain **the same tokens** (those of the first model's tokenizer) and **the same class** (the
one that the first model predicts), whatever the second predicts: its own choice would change the question along with
the answer. ``same_prediction`` says where the two agree.

Two tests of Zafar et al. 2021 belong together. Between models that differ in their seed only, an attribution should
agree; between a trained model and one with random weights it should not. One that does not look at the model (such as
``random`` here, which is drawn from the text) agrees perfectly in both, and fails; so does one that is unstable enough
to agree in neither. :func:`randomisation_verdict` takes both together.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import pandas as pd
import torch

from regex_lib.checks.comparison import check_pair, compare, score_texts
from regex_lib.checks.weights import with_random_weights
from regex_lib.errors import UserError
from regex_lib.metrics import paired_bootstrap
from regex_lib.models import TextClassifier

__all__ = [
    "different_initialisations",
    "permuted_label_training",
    "randomisation_verdict",
    "untrained_model",
    "with_permuted_labels",
]


def different_initialisations(
    classifier: TextClassifier,
    other: TextClassifier,
    texts: Sequence[str],
    attributions: Sequence[str],
    *,
    batch_size: int = 32,
    max_length: int | None = None,
    seed: int = 0,
    options: dict[str, dict[str, Any]] | None = None,
    ratio: float = 0.25,
) -> pd.DataFrame:
    """The different-initialisations test: two models, trained alike from different seeds, should be explained alike.

    Args:
        classifier: one model. Its predictions are what both explain, and its tokenizer makes the tokens.
        other: the same architecture, trained alike from another seed.
        texts: the texts; those without content tokens are left out.
        attributions: names in :data:`regex_lib.attributions.METHODS`.
        batch_size: texts per pass. Results do not depend on it, but for rounding.
        max_length: cut longer texts; the models' maximum by default.
        seed: of the ``random`` attribution, which is the same for both models.
        options: options of single attributions by their names, such as ``{"integrated_gradients": {"n_steps": 50}}``.
        ratio: the size of the sets of top tokens, above 0 and at most 1.

    Returns:
        One row per attribution and text: ``example`` (the text's number), ``attribution``, ``tokens`` (content),
        ``same_prediction``, ``jaccard`` (:func:`regex_lib.metrics.top_k_jaccard`), ``random_jaccard`` (what chance
        gives for a text of this length), ``spearman`` (NaN where there is nothing to order). Higher is better here.
        :func:`regex_lib.checks.summarise` makes means and intervals of them.

    Raises:
        UserError: if the models do not go together, a name or an option is unknown, or no text has content.

    References:
        Zafar et al. 2021, different-initialisations test.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> one, two = (load_classifier("minilm", layers=1, seed=seed) for seed in (0, 1))
        >>> frame = different_initialisations(one, two, ["A fine film.", "Dull, dull, dull."], ["random", "attention"])
        >>> frame[["example", "attribution", "jaccard", "spearman"]].values.tolist()
        [[0, 'random', 1.0, 1.0], [1, 'random', 1.0, 1.0], [0, 'attention', 1.0, 1.0], [1, 'attention', 1.0, 1.0]]
    """
    check_pair(classifier, other)
    longest = min(classifier.max_length, other.max_length) if max_length is None else max_length
    chosen = {"random": {"seed": seed}} | (options or {})
    scored = score_texts(classifier, texts, attributions, batch_size=batch_size, max_length=longest, options=chosen)
    return compare(scored, other, chosen, ratio).reset_index(drop=True)


def untrained_model(
    classifier: TextClassifier,
    other: TextClassifier | None,
    texts: Sequence[str],
    attributions: Sequence[str],
    *,
    seed: int = 0,
    **settings: Any,
) -> pd.DataFrame:
    """The untrained-model test: what a model has learned should show in its explanations.

    Args:
        classifier: the trained model.
        other: an untrained one; ``None`` makes one of the same architecture with random weights throughout, from the
            seed. One with pre-trained weights and a new head, as training starts from, asks for more: that what was
            learned in fine-tuning shows, not only what was learned before.
        texts: as in :func:`different_initialisations`.
        attributions: as there.
        seed: of the random weights and of the ``random`` attribution.
        **settings: ``batch_size``, ``max_length``, ``options`` and ``ratio``, as there.

    Returns:
        The frame of :func:`different_initialisations`. Lower is better here, down to ``random_jaccard`` and a Spearman
        correlation of 0; an attribution that ignores the model has 1.

    References:
        Zafar et al. 2021, untrained-model test; Adebayo et al. 2018, model parameter randomisation.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> classifier = load_classifier("minilm", layers=1)
        >>> frame = untrained_model(classifier, None, ["A touching, unhurried film."], ["random", "attention"])
        >>> frame["spearman"].eq(1.0).tolist()
        [True, False]
    """
    other = with_random_weights(classifier, seed=seed) if other is None else other
    return different_initialisations(classifier, other, texts, attributions, seed=seed, **settings)


def permuted_label_training(
    classifier: TextClassifier,
    other: TextClassifier,
    texts: Sequence[str],
    attributions: Sequence[str],
    **settings: Any,
) -> pd.DataFrame:
    """The data randomisation test: a model that could only memorise should be explained otherwise.

    Args:
        classifier: the model trained on the labels as they are.
        other: the same, trained alike on :func:`with_permuted_labels`.
        texts: as in :func:`different_initialisations`.
        attributions: as there.
        **settings: ``batch_size``, ``max_length``, ``seed``, ``options`` and ``ratio``, as there.

    Returns:
        The frame of :func:`different_initialisations`. Lower is better here. The other model must have fitted its
        labels, or the test is that of an untrained model.

    References:
        Adebayo et al. 2018, section 4, data randomisation test.
    """
    return different_initialisations(classifier, other, texts, attributions, **settings)


def with_permuted_labels(dataset: datasets.Dataset, *, seed: int = 0) -> datasets.Dataset:
    """The same texts with their labels in random order: each label is there as often as before.

    Args:
        dataset: rows with a column ``label``.
        seed: of the order.

    Example:
        >>> rows = datasets.Dataset.from_dict({"text": ["a", "b", "c", "d"], "label": [0, 1, 1, 0]})
        >>> with_permuted_labels(rows)["label"][:]
        [1, 0, 1, 0]
    """
    labels, order = dataset["label"][:], np.random.default_rng(seed).permutation(len(dataset))
    permuted = dataset.remove_columns("label").add_column(
        "label", [labels[row] for row in order], feature=dataset.features["label"]
    )
    return permuted.select_columns(dataset.column_names)


def randomisation_verdict(
    initialisations: pd.DataFrame, untrained: pd.DataFrame, *, level: float = 0.95
) -> pd.DataFrame:
    """Whether each attribution agrees more between two trained models than between a trained and an untrained one.

    Args:
        initialisations: from :func:`different_initialisations`.
        untrained: from :func:`untrained_model`, with the same first model and texts.
        level: the confidence of the intervals.

    Returns:
        One row per attribution: ``attribution, examples``, the mean Jaccard in both tests (``trained``, ``untrained``)
        and by chance (``random``), their paired ``difference`` with its bootstrap interval (``low``, ``high``), and
        ``passes``: whether all of it is above 0. The threshold is ours. It says nothing of how good the models are:
        show their accuracy beside it.

    Raises:
        UserError: if the frames are not of the same attributions and examples.

    Example:
        >>> both = {"attribution": ["a"] * 3, "example": [0, 1, 2], "random_jaccard": [0.2] * 3}
        >>> trained, blind = (pd.DataFrame(both | {"jaccard": x}) for x in ([1.0, 0.5, 1.0], [0.0, 0.0, 0.3]))
        >>> randomisation_verdict(trained, blind)["passes"].item(), randomisation_verdict(blind, blind)["passes"].item()
        (True, False)
    """
    keys = ["attribution", "example"]
    both = initialisations.merge(untrained[[*keys, "jaccard"]], on=keys, suffixes=("", "_untrained"))
    repeated = any(frame.duplicated(keys).any() for frame in (initialisations, untrained))
    if repeated or not len(both) == len(initialisations) == len(untrained):
        raise UserError("the two frames must be of the same attributions and examples: one row for each pair in both")
    rows = []
    for name, group in both.groupby("attribution", sort=False):
        trained, blind = (torch.tensor(group[column].to_list()).double() for column in ("jaccard", "jaccard_untrained"))
        interval = paired_bootstrap(trained, blind, level=level)
        rows.append({
            "attribution": name, "examples": len(group), "trained": trained.mean().item(),
            "untrained": blind.mean().item(), "random": group["random_jaccard"].mean(),
            "difference": interval.estimate, "low": interval.low, "high": interval.high, "passes": interval.low > 0,
        })  # fmt: skip
    return pd.DataFrame(rows)
