"""Expected calibration error, bin by bin and example by example, in exact arithmetic."""

from fractions import Fraction


def expected_calibration_error(confidences: list[float], correct: list[bool], bins: int) -> float:
    """Guo et al. 2017, equation 3: bin m holds the confidences above (m - 1) / bins and up to m / bins."""
    error = 0.0
    for bin_index in range(bins):
        low, high = Fraction(bin_index, bins), Fraction(bin_index + 1, bins)
        members = [
            i
            for i, confidence in enumerate(confidences)
            if low < Fraction(confidence) <= high or (confidence == 0 and bin_index == 0)
        ]
        if members:
            accuracy = sum(correct[i] for i in members) / len(members)
            confidence = sum(confidences[i] for i in members) / len(members)
            error += len(members) / len(confidences) * abs(accuracy - confidence)
    return error
