"""Normalised erasure scores, from Carton et al. 2020 and Chrysostomou and Aletras 2022, one number at a time."""

STABILISER = 1e-4  # the published code lowers the sufficiency of an empty text by this; here once, not at every call


def sufficiency(full: float, kept: float) -> float:
    return 1 - max(0.0, full - kept)


def normalised_sufficiency(full: float, kept: float, empty: float) -> float:
    of_nothing = sufficiency(full, empty) - STABILISER
    return _clipped((sufficiency(full, kept) - of_nothing) / (1 - of_nothing))


def normalised_comprehensiveness(full: float, removed: float, empty: float) -> float:
    of_nothing = sufficiency(full, empty) - STABILISER
    return _clipped(max(0.0, full - removed) / (1 - of_nothing))


def area_over_perturbation_curve(scores: list[float], convention: str) -> float:
    total = 0.0
    for score in scores:
        total += score
    return total / {"mean": len(scores), "acl2022": len(scores) + 1}[convention]


def _clipped(score: float) -> float:
    return min(1.0, max(0.0, score))
