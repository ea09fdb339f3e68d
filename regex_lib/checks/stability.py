"""Does an explanation stay when the text changes a little and the prediction does not? Never without its fidelity."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import datasets
import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regex_lib.attributions.sampling import example_generators
from regex_lib.checks.comparison import Scored, predictions, score_texts, scores_of
from regex_lib.checks.perturbations import PERTURBATIONS, Perturbed, Source
from regex_lib.errors import UserError, check_names
from regex_lib.evaluation import evaluate_faithfulness
from regex_lib.evaluation.chunk import select
from regex_lib.metrics import expected_jaccard, rank_correlation, surviving_scores, top_k_jaccard
from regex_lib.models import TextClassifier, evaluating

__all__ = ["stability"]


def stability(
    classifier: TextClassifier,
    texts: Sequence[str],
    attributions: Sequence[str],
    *,
    batch_size: int = 32,
    max_length: int | None = None,
    seed: int = 0,
    options: dict[str, dict[str, Any]] | None = None,
    perturbations: Sequence[str] = tuple(PERTURBATIONS),
    samples: int = 3,
    share: float = 0.1,
    noise_size: float = 0.05,
    ratio: float = 0.25,
) -> pd.DataFrame:
    """How far an attribution stays the same under changes that leave the prediction as it is, beside its fidelity.

    The changes, drawn for each text by itself:

    - ``insertion``: ceil(share x n) tokens are put in at random places, drawn from all content tokens of ``texts``.
    - ``removal``: as many random content tokens are taken out, and what follows moves up.
    - ``typo``: one letter of one word is doubled or left out, or two are swapped; the word's tokens do not survive.
    - ``noise``: Gaussian noise is added to the embeddings of content tokens; its norm is a share of theirs.

    What is compared are the scores of the tokens that survive, for the class predicted for the unchanged text. Where a
    change alters the prediction there is no number: explanations of two decisions may well differ.

    **Stability is not faithfulness.** A constant explanation has the best value, and training for robustness raises it
    by construction. So comprehensiveness, of the same model and texts, is in the frame and cannot be left out.

    Args:
        classifier: what is explained.
        texts: the texts; those without content tokens are left out.
        attributions: names in :data:`regex_lib.attributions.METHODS`. With ``noise``, only those that read embeddings:
            leave-one-out, LIME and KernelSHAP remove tokens instead.
        batch_size: texts per pass. Results do not depend on it, but for rounding.
        max_length: cut longer texts; the model's maximum by default.
        seed: of the changes and of the ``random`` attribution.
        options: options of single attributions by their names.
        perturbations: which changes.
        samples: how many of each kind for each text; each costs every attribution once more.
        share: of the content tokens that are put in or taken out, in [0, 1].
        noise_size: the noise, as a share of the embeddings' norm, 0 or more.
        ratio: the size of the sets of top tokens, above 0 and at most 1.

    Returns:
        One row per attribution, kind, text and sample: ``example, attribution, perturbation, sample``,
        ``same_prediction``, ``survivors`` (tokens compared), ``jaccard`` and ``random_jaccard`` of the top tokens,
        ``spearman``, and the text's ``comprehensiveness`` (normalised, mean over the default ratios). All but the last
        are NaN where the prediction changed. :func:`regex_lib.checks.summarise` makes means and intervals of them.

    Raises:
        UserError: if a name or an option is unknown, a number is out of its range, no text has content, or an
            attribution does not read the embeddings that noise is added to.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> classifier = load_classifier("minilm", layers=1)
        >>> frame = stability(classifier, ["A touching, unhurried film."], ["attention"], samples=1)
        >>> frame[["perturbation", "survivors"]].values.tolist()
        [['insertion', 8], ['removal', 7], ['typo', 7], ['noise', 8]]
        >>> "comprehensiveness" in frame
        True
    """
    check_names("perturbation", perturbations, PERTURBATIONS)
    if not perturbations or samples < 1:
        raise UserError(f"one perturbation and one sample are the least, got {len(perturbations)} and {samples}")
    if not 0 <= share <= 1 or noise_size < 0:
        raise UserError(f"share must be in [0, 1] and noise_size 0 or more, got {share} and {noise_size}")
    chosen = {"random": {"seed": seed}} | (options or {})
    longest = classifier.max_length if max_length is None else max_length
    scored = score_texts(classifier, texts, attributions, batch_size=batch_size, max_length=longest, options=chosen)
    texts = list(texts)  # a column of a table is indexed by its labels
    pool = torch.cat([part.batch.input_ids[part.batch.content_mask] for part in scored]).cpu().sort().values
    frames = []
    with evaluating(classifier):
        for part in scored:
            source = Source(classifier, [texts[row] for row in part.rows], part.batch, longest, pool, share, noise_size)
            own = torch.tensor([generator.initial_seed() for generator in example_generators(part.batch, seed)])
            for name in perturbations:
                for sample in range(samples):
                    perturbed = PERTURBATIONS[name](source, (own + sample).tolist())
                    facts = {"perturbation": name, "sample": sample}
                    frames.append(_compared(classifier, part, perturbed, chosen, ratio).assign(**facts))
    rows = datasets.Dataset.from_dict({"text": texts, "label": [0] * len(texts)})  # labels do not matter here
    fidelity = evaluate_faithfulness(
        classifier, rows, list(attributions), ["comprehensiveness"], batch_size=batch_size, max_length=max_length,
        seed=seed, options=options,
    ).examples[["example", "attribution", "comprehensiveness"]]  # fmt: skip
    together = pd.concat(frames).merge(fidelity, on=["example", "attribution"])
    return _tidy(together, list(attributions), list(perturbations))


def _compared(
    classifier: TextClassifier, part: Scored, perturbed: Perturbed, options: dict[str, dict[str, Any]], ratio: float
) -> pd.DataFrame:
    """One row per attribution and text; only texts with an unchanged prediction are explained again."""
    with _noise_added(classifier, perturbed.batch.input_ids, perturbed.noise):
        same = (predictions(classifier, perturbed.batch) == part.target).cpu()
    kept = same.nonzero().squeeze(1)
    theirs: dict[str, Tensor] = {}
    if len(kept):
        batch, noise = select(perturbed.batch, kept), perturbed.noise
        if noise is not None:
            noise = noise[kept.to(noise.device), : batch.input_ids.shape[1]]
        for name in part.scores:
            with _noise_added(classifier, batch.input_ids, noise, name):
                rows = [part.rows[row] for row in kept.tolist()]
                theirs |= scores_of(classifier, batch, part.target[kept.to(part.target.device)], [name], options, rows)
    frames = []
    for name, ours in part.scores.items():
        frame = pd.DataFrame({"example": part.rows, "attribution": name, "same_prediction": same})
        survivors = torch.zeros(len(same), dtype=torch.long)
        values = torch.full((3, len(same)), torch.nan, dtype=torch.float64)
        if len(kept):
            scores, survived = surviving_scores(theirs[name], perturbed.positions[kept])
            survivors[kept] = survived.sum(dim=1)
            values[:, kept] = torch.stack([
                top_k_jaccard(ours[kept], scores, survived, ratio),
                expected_jaccard(survived, ratio),
                rank_correlation(ours[kept], scores, survived),
            ])  # fmt: skip
        columns = dict(zip(("jaccard", "random_jaccard", "spearman"), values.numpy(), strict=True))
        frames.append(frame.assign(survivors=survivors.numpy(), **columns))
    return pd.concat(frames)


@contextmanager
def _noise_added(
    classifier: TextClassifier,
    input_ids: Int64[Tensor, "batch tokens"],
    noise: Float[Tensor, "batch tokens dim"] | None,
    method: str = "prediction",
) -> Iterator[None]:
    """Let the embedding layer add noise to what it gives for these ids, and for no others (such as a baseline's)."""
    if noise is None:
        yield
        return
    added, given = noise, list[bool]()

    def add(_layer: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        given.append(torch.equal(inputs[0], input_ids))
        return output + added.to(output) if given[-1] else output

    handle = classifier.model.get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
    if given and not any(given):
        raise UserError(
            f"noise is added to embeddings, which {method!r} does not read, because it removes tokens: leave one of "
            "the two out"
        )


def _tidy(rows: pd.DataFrame, attributions: list[str], perturbations: list[str]) -> pd.DataFrame:
    """The columns and rows in the order that was asked for."""
    columns = [
        *("example", "attribution", "perturbation", "sample", "same_prediction", "survivors"),
        *("jaccard", "random_jaccard", "spearman", "comprehensiveness"),
    ]
    order = {"attribution": attributions, "perturbation": perturbations}
    rows = rows.sort_values(
        ["attribution", "perturbation", "example", "sample"],
        key=lambda column: column.map(order[column.name].index) if column.name in order else column,
    )
    return rows[columns].reset_index(drop=True)
