"""Parameter randomisation: what becomes of an explanation as the model loses, layer by layer, what it has learned."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import pandas as pd
import torch

from regex_lib.checks.comparison import check_pair, compare, score_texts
from regex_lib.checks.weights import layer_parameters, with_random_weights
from regex_lib.errors import UserError
from regex_lib.models import TextClassifier

__all__ = ["parameter_randomisation"]

Order = Literal["cascading", "independent", "full"]


def parameter_randomisation(
    classifier: TextClassifier,
    other: TextClassifier | None,
    texts: Sequence[str],
    attributions: Sequence[str],
    *,
    order: Order = "cascading",
    batch_size: int = 32,
    max_length: int | None = None,
    seed: int = 0,
    options: dict[str, dict[str, Any]] | None = None,
    ratio: float = 0.25,
) -> pd.DataFrame:
    """Parameter randomisation: how an explanation changes as layers lose what they have learned.

    Args:
        classifier: the trained model; it is not changed.
        other: whose weights take the place of the trained ones: a model of the same architecture. ``None`` makes one
            with random weights, drawn as the architecture itself draws them, from the seed.
        texts: as in :func:`different_initialisations`.
        attributions: as there.
        order: ``"cascading"`` randomises from the head down to the embeddings, each step keeping those before;
            ``"independent"`` one layer at a time, with all others as trained; ``"full"`` all at once, which is the end
            of the cascade and the untrained-model test.
        batch_size: as in :func:`different_initialisations`.
        max_length: as there.
        seed: of the random weights and of the ``random`` attribution.
        options: as there.
        ratio: as there.

    Returns:
        The frame of :func:`different_initialisations` for every step, with the columns ``step`` (from 1) and ``layer``:
        ``head`` (with the pooler and what else follows the layers), the layers by their numbers in Hugging Face from
        the last to ``layer_0``, ``embeddings``; or ``all``. Lower is better, and in a cascade the sooner.

    Raises:
        UserError: if ``order`` is none of the three, the other model is of another architecture, and as in
            :func:`different_initialisations`.

    References:
        Adebayo et al. 2018, section 3: cascading, independent and full randomisation.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> frame = parameter_randomisation(load_classifier("minilm", layers=1), None, ["A fine film."], ["attention"])
        >>> frame["layer"].tolist()
        ['head', 'layer_0', 'embeddings']
    """
    if order not in get_args(Order):
        raise UserError(f"order must be 'cascading', 'independent' or 'full', got {order!r}")
    other = with_random_weights(classifier, seed=seed) if other is None else other
    check_pair(classifier, other)
    chosen = {"random": {"seed": seed}} | (options or {})
    longest = classifier.max_length if max_length is None else max_length
    scored = score_texts(classifier, texts, attributions, batch_size=batch_size, max_length=longest, options=chosen)
    frames = []
    for step, (layer, randomised) in enumerate(_randomised(classifier, other, order), start=1):
        frame = compare(scored, randomised, chosen, ratio)
        frame.insert(0, "step", step)
        frame.insert(1, "layer", layer)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _randomised(
    classifier: TextClassifier, other: TextClassifier, order: Order
) -> Iterator[tuple[str, TextClassifier]]:
    """For each step its layer, and the model with random weights in place of what it has learned there."""
    replacements = dict(other.model.named_parameters())
    shapes = [{name: p.shape for name, p in model.model.named_parameters()} for model in (classifier, other)]
    if shapes[0] != shapes[1]:
        raise UserError("the models have different architectures: not every trained weight has one to take its place")
    layers = {"all": list(replacements)} if order == "full" else layer_parameters(classifier)
    randomised = copy.deepcopy(classifier)
    for layer, names in layers.items():
        if order == "independent":
            randomised = copy.deepcopy(classifier)
        parameters = dict(randomised.model.named_parameters())
        with torch.no_grad():
            for name in names:
                parameters[name].copy_(replacements[name])
        yield layer, randomised
