"""How well a model classifies, and how well it knows: shown beside every faithfulness number."""

import torch
from jaxtyping import Float, Int64
from sklearn.metrics import f1_score
from torch import Tensor

__all__ = ["classification_report", "expected_calibration_error"]


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
    # Edges in the probabilities' own type, so that a confidence of .7 lies on the edge 7 / 10 and not just beyond it.
    edges = torch.arange(1, bins + 1, dtype=torch.float64, device=confidence.device) / bins
    bin_of = torch.bucketize(confidence, edges.to(confidence.dtype)).clamp(max=bins - 1)
    correct = (predicted == labels).double()
    gap = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    gap.index_add_(0, bin_of, correct - confidence.double())
    return float(gap.abs().sum() / len(labels))


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
