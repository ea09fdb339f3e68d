"""Integrated Gradients: gradients along the straight path from a baseline to the input."""

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regex_lib.attributions.gradient import Baseline, Forward, baseline_embeddings, logits_and_gradient
from regex_lib.attributions.quadrature import Quadrature, path_ends, path_points
from regex_lib.attributions.registry import register
from regex_lib.attributions.sampling import packed
from regex_lib.models import TextClassifier, TokenBatch
from regex_lib.models.families import family_of

__all__ = ["Starts", "integrated_gradients", "path_derivative"]

Starts = Callable[[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]], Float[Tensor, "pairs tokens dim"]]
"""``starts(examples, samples)``: the baselines of some examples, each for one of its points."""


def integrated_gradients(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    baselines: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
    *,
    n_steps: int = 16,
    quadrature: Quadrature = "equal_angle",
    tolerance: float | None = None,
    max_steps: int = 200,
) -> Float[Tensor, "batch tokens"]:
    r"""Integrated Gradients (IG), summed over the embedding dimension. Signed and complete.

    .. math:: a_i = (e_i - b_i) \cdot \int_0^1 \nabla_{e_i} f_c\big(b + \alpha (e - b)\big) \, d\alpha

    The scores of an example sum to :math:`f_c(e) - f_c(b)` up to the error of the quadrature.

    The baselines need a direction. A model that normalises its embeddings before anything else (DeBERTa, ModernBERT,
    and decoders such as Llama, Qwen, Mistral and Gemma) jumps from the zero vector, which has none, to the direction of
    the input: everything happens at the path's first point, where no quadrature looks, and scores are far from
    complete. BERT, RoBERTa and GPT-2 add positions first, and can start from zero. Where a content token of another
    model starts from zero, ``attribute(..., "integrated_gradients")`` makes two forward passes more, and warns if the
    scores of a batch miss the changes of its logits by more than a tenth.

    A transformer normalises its embeddings, so that most of the change happens where their directions turn fastest.
    The points of ``"equal_angle"`` are evenly spread over the mean angle by which the tokens turn. Finding them costs
    no pass, and the median error of sixteen of them is below that of twenty of Gauss-Legendre
    (``benchmarks/attributions.py``).

    Args:
        forward: embeddings and attention mask to logits.
        embeddings: the input embeddings :math:`e`.
        baselines: where the path starts, :math:`b`; see :func:`regex_lib.attributions.baseline_embeddings`.
        attention_mask: true where a token is not padding.
        target: the class to explain, per example.
        n_steps: points of the quadrature; each costs a forward and a backward pass.
        quadrature: ``"equal_angle"``; ``"midpoint"`` for the middles of pieces of equal length; ``"gauss_legendre"``,
            captum's default.
        tolerance: with this option the path is cut into ``n_steps`` pieces of equal angle or length, and the pieces of
            an example are halved until its scores sum to :math:`f_c(e) - f_c(b)` up to this relative error. The
            gradients are then taken at the pieces' ends, so that all are used again: ``n_steps`` + 1 at first, and as
            many new ones as there are pieces at each halving.
        max_steps: with ``tolerance``, no example gets more pieces than this, whatever its error. A warning says how
            many examples have a larger one.

    Raises:
        ValueError: if ``n_steps`` is below 1, ``quadrature`` is none of the three, ``tolerance`` is not positive, or
            ``tolerance`` is given with ``"gauss_legendre"``, whose points cannot be used again.

    References:
        Sundararajan et al. 2017, equation 1. For the points see :mod:`regex_lib.attributions.quadrature`.

    Example:
        >>> def forward(e, attention_mask):
        ...     return torch.stack([e.square().sum((1, 2)), torch.zeros(len(e))], dim=-1)
        >>> x = torch.tensor([[[1.0], [3.0]]])
        >>> attended = torch.ones(1, 2, dtype=torch.bool)
        >>> integrated_gradients(forward, x, torch.zeros_like(x), attended, torch.tensor([0]))
        tensor([[1.0000, 9.0000]])
    """
    _check(n_steps, quadrature, tolerance)
    embeddings = embeddings.detach()
    everyone = torch.arange(len(embeddings), device=embeddings.device)

    def derivative(rows: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        starts = baselines[rows]
        return path_derivative(
            forward, embeddings[rows], lambda some, _: starts[some], points, attention_mask[rows], target[rows]
        )

    if tolerance is None:
        points, weights = path_points(embeddings, baselines, n_steps, quadrature)
        return (weights[..., None] * derivative(everyone, points)[0]).sum(dim=1)

    def cut(rows: Tensor, pieces: int) -> Tensor:
        return path_ends(embeddings[rows], baselines[rows], pieces, quadrature)

    return _until_complete(derivative, cut, everyone, n_steps, tolerance, max_steps)


def _until_complete(
    derivative: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    cut: Callable[[Tensor, int], Tensor],
    rows: Int64[Tensor, " batch"],
    pieces: int,
    tolerance: float,
    max_steps: int,
) -> Float[Tensor, "batch tokens"]:
    """Trapezoids over pieces that are halved; only the examples that are not complete go on."""
    ends = cut(rows, pieces)
    parts, logits = derivative(rows, ends)
    moves, change = parts.flatten(1).any(dim=1), logits[:, -1] - logits[:, 0]
    scores = torch.trapezoid(parts, ends[..., None], dim=1)
    while 2 * pieces <= max_steps:
        incomplete = (scores[rows].sum(dim=1) - change[rows]).abs() > tolerance * change[rows].abs()
        rows, parts = rows[incomplete], parts[incomplete]
        if not len(rows):
            break
        pieces *= 2
        ends = cut(rows, pieces)
        between, _ = derivative(rows, ends[:, 1::2])
        parts = torch.cat([torch.stack([parts[:, :-1], between], dim=2).flatten(1, 2), parts[:, -1:]], dim=1)
        scores[rows] = torch.trapezoid(parts, ends[..., None], dim=1)
    errors = (scores.sum(dim=1) - change).abs()
    incomplete = moves & (errors > tolerance * change.abs())  # where nothing moves, the change is rounding
    if incomplete.any():
        worst = float((errors / change.abs())[incomplete].max())
        warnings.warn(
            f"Integrated Gradients of {int(incomplete.sum())} of {len(scores)} examples are not complete with {pieces} "
            f"pieces of the path: the worst relative error is {worst:.2g}. More max_steps may help; where the baseline "
            "is the zero vector, another baseline",
            stacklevel=3,
        )
    return scores


def _check(n_steps: int, quadrature: str, tolerance: float | None) -> None:
    if n_steps < 1:
        raise ValueError(f"n_steps must be 1 or more, got {n_steps}")
    if quadrature not in ("equal_angle", "midpoint", "gauss_legendre"):
        raise ValueError(f"quadrature must be 'equal_angle', 'midpoint' or 'gauss_legendre', got {quadrature!r}")
    if tolerance is not None and tolerance <= 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    if tolerance is not None and quadrature == "gauss_legendre":
        raise ValueError("tolerance needs points that can be used again: use quadrature 'equal_angle' or 'midpoint'")


def path_derivative(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    starts: Starts,
    points: Float[Tensor, "batch points"],
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch points tokens"], Float[Tensor, "batch points"]]:
    """Each token's part of the derivative of the target's logit along the path at some points, and that logit."""
    parts = points.new_zeros(*points.shape, embeddings.shape[1])
    explained = points.new_zeros(points.shape)
    for rows, numbers, longest in packed(attention_mask, points.shape[1]):
        start = starts(rows, numbers)[:, :longest].detach()
        difference = embeddings[rows, :longest] - start
        point = (start + points[rows, numbers, None, None] * difference).to(start.dtype)
        logits, gradient = logits_and_gradient(forward, point, attention_mask[rows, :longest], target[rows])
        parts[rows, numbers, :longest] = (difference * gradient).sum(dim=-1, dtype=parts.dtype)
        explained[rows, numbers] = logits.gather(1, target[rows, None]).squeeze(1).to(parts)
    return parts, explained


@register("integrated_gradients")
def _integrated_gradients(
    classifier: TextClassifier,
    batch: TokenBatch,
    target: Int64[Tensor, " batch"],
    *,
    n_steps: int = 16,
    quadrature: Quadrature = "equal_angle",
    baseline: Baseline = "pad",
    tolerance: float | None = None,
    max_steps: int = 200,
) -> Float[Tensor, "batch tokens"]:
    embeddings, baselines = classifier.embed(batch.input_ids), baseline_embeddings(classifier, batch, baseline)
    scores = integrated_gradients(
        classifier.forward_func(),
        embeddings,
        baselines,
        batch.attention_mask,
        target,
        n_steps=n_steps,
        quadrature=quadrature,
        tolerance=tolerance,
        max_steps=max_steps,
    )
    adds_positions = family_of(classifier.model).adds_positions(classifier.model.config)
    # With a tolerance, completeness is checked anyway.
    if tolerance is None and not adds_positions and (~baselines.any(dim=-1) & batch.content_mask).any():
        _warn_of_a_jump(classifier, batch, target, embeddings, baselines, scores)
    return scores


def _warn_of_a_jump(
    classifier: TextClassifier,
    batch: TokenBatch,
    target: Int64[Tensor, " batch"],
    embeddings: Float[Tensor, "batch tokens dim"],
    baselines: Float[Tensor, "batch tokens dim"],
    scores: Float[Tensor, "batch tokens"],
) -> None:
    """Warn where scores are far from complete because the logit jumps on leaving the zero vector."""

    def explained(points: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, " batch"]:
        with torch.no_grad():
            return classifier(points, batch.attention_mask).logits.gather(1, target[:, None]).squeeze(1)

    full, empty = explained(embeddings), explained(baselines)
    missing = (scores.sum(dim=1) - (full - empty)).abs().sum()
    rounding = 10 * torch.finfo(embeddings.dtype).eps * (full.abs() + empty.abs()).sum()
    # Of the batch: by chance, a single text may change next to nothing.
    if missing > 0.1 * (full - empty).abs().sum() + rounding:
        remedy = "mean" if classifier.mask_id == classifier.pad_id else "mask"
        warnings.warn(
            "Integrated Gradients are far from complete: the baseline is the zero vector, which has no direction, and "
            "this model normalises its embeddings before anything else, so that everything happens at the path's "
            f"first point: use baseline={remedy!r}",
            stacklevel=3,
        )
