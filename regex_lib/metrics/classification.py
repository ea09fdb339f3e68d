"""How well a model classifies, and how well it knows: shown beside every faithfulness number."""

import torch
from jaxtyping import Bool, Float, Float64, Int64
from sklearn.metrics import f1_score
from torch import Tensor

__all__ = ["calibration_error_terms", "classification_report", "expected_calibration_error", "macro_f1_terms"]


def expected_calibration_error(
    probabilities: Float[Tensor, "examples classes"], labels: Int64[Tensor, " examples"], *, bins: int = 15
) -> float:
    r"""Expected calibration error (ECE): how far confidence is from accuracy, in [0, 1]; lower is better.

    .. math:: ECE = \sum_m \frac{|B_m|}{n} \big| \mathrm{acc}(B_m) - \mathrm{conf}(B_m) \big|

    over bins of equal width of the predicted class's probability; a bin contains its upper edge.

    Args:
        probabilities: one distribution per example.
        labels: the true classes.
        bins: how many bins.

    References:
        Guo et al. 2017, equation 3; Naeini et al. 2015.

    Example:
        >>> expected_calibration_error(torch.tensor([[0.75, 0.25], [0.25, 0.75]]), torch.tensor([0, 0]), bins=2)
        0.25
    """
    confidence, predicted = probabilities.max(dim=-1)
    return float(calibration_error_terms(confidence, predicted == labels, bins=bins).mean())


def calibration_error_terms(
    confidence: Float[Tensor, " examples"], correct: Bool[Tensor, " examples"], *, bins: int = 15
) -> Float64[Tensor, " examples"]:
    """A number for each example, whose mean is the :func:`expected_calibration_error`.

    Each is how far the example's confidence is from 0 or 1, with the sign by which its bin misses. An interval of such
    numbers over examples, as of :func:`regex_lib.metrics.paired_bootstrap`, is one of the error.

    Args:
        confidence: the predicted class's probability.
        correct: whether the prediction is right.
        bins: how many bins.

    Example:
        >>> terms = calibration_error_terms(torch.tensor([0.75, 0.75]), torch.tensor([True, False]), bins=2)
        >>> terms.tolist(), terms.mean().item()
        ([-0.25, 0.75], 0.25)
    """
    # Edges in the confidence's own type, so that a confidence of .7 lies on the edge 7 / 10 and not just beyond it.
    edges = torch.arange(1, bins + 1, dtype=torch.float64, device=confidence.device) / bins
    bin_of = torch.bucketize(confidence, edges.to(confidence.dtype)).clamp(max=bins - 1)
    misses = confidence.double() - correct.double()
    gap = torch.zeros(bins, dtype=torch.float64, device=confidence.device).index_add_(0, bin_of, misses)
    return misses * gap.sign()[bin_of]


def macro_f1_terms(
    labels: Int64[Tensor, " examples"], predicted: Int64[Tensor, " examples"], classes: int | None = None
) -> Float64[Tensor, " examples"]:
    r"""A number for each example, whose mean is the macro-F1.

    No example has an F1 of its own, so its mean would vary less from sample to sample than the score does. These are
    the terms of its linear approximation, with :math:`a = 2\,tp` and :math:`b = 2\,tp + fp + fn` of one example:

    .. math:: F + \frac{a - F b}{\bar b}, \quad F = \bar a / \bar b

    averaged over the classes. Their standard error is that of the score, by the delta method.

    Args:
        labels: the true classes.
        predicted: the predicted ones.
        classes: how many there are: those that no label has count with 0, as in :func:`classification_report`. By
            default the classes that the labels have.

    Raises:
        ValueError: if there are fewer classes than the labels have.

    Example:
        >>> macro_f1_terms(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])).mean().item()
        0.6666666666666666
    """
    found = labels.unique()
    if classes is not None and classes < len(found):
        raise ValueError(f"the labels have {len(found)} classes, got classes={classes}")
    terms = []
    for one in found:
        true, given = (labels == one).double(), (predicted == one).double()
        hits, both = 2 * true * given, true + given
        score = hits.mean() / both.mean()
        terms.append(score + (hits - score * both) / both.mean())
    terms += [torch.zeros_like(terms[0])] * ((classes or 0) - len(found))
    return torch.stack(terms).mean(dim=0)


def classification_report(
    probabilities: Float[Tensor, "examples classes"], labels: Int64[Tensor, " examples"]
) -> dict[str, float]:
    """Accuracy, macro-F1 (over all classes) and expected calibration error.

    Example:
        >>> classification_report(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))["accuracy"]
        1.0
    """
    predicted = probabilities.argmax(dim=-1)
    classes = list(range(probabilities.shape[1]))
    return {
        "accuracy": float((predicted == labels).double().mean()),
        "macro_f1": float(f1_score(labels.cpu(), predicted.cpu(), labels=classes, average="macro", zero_division=0.0)),
        "ece": expected_calibration_error(probabilities, labels),
    }
