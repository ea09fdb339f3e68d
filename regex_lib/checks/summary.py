"""From one row per text to one row per attribution, with confidence intervals."""

import pandas as pd
import torch

from regex_lib.errors import UserError
from regex_lib.metrics import bootstrap_interval

__all__ = ["summarise"]

_GROUPS = ("step", "layer", "perturbation", "attribution")
_SCORES = ("jaccard", "random_jaccard", "above_random", "spearman", "comprehensiveness")


def summarise(frame: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """The means of a randomisation or stability check, with bootstrap intervals over the texts.

    Rows of one text (samples of a perturbation) are averaged first, because they are not independent.

    Args:
        frame: from a check of :mod:`regex_lib.checks.randomisation` or :mod:`regex_lib.checks.stability`.
        level: the confidence.

    Returns:
        One row per attribution, and per ``step`` and ``layer`` or ``perturbation`` where the check has these:
        ``examples``, ``same_prediction`` (a share), and for each score its mean, ``*_low``, ``*_high`` and
        ``*_undefined``, the share of the texts without a number, which the mean leaves out. ``above_random`` is the
        Jaccard minus what chance gives for the same text.

    Raises:
        UserError: if the frame is of stability without comprehensiveness beside it: what does not move is not faithful
            for that.

    Example:
        >>> frame = pd.DataFrame({
        ...     "attribution": "attention", "example": [0, 1, 2], "same_prediction": True, "jaccard": [1.0, 0.5, 0.6],
        ...     "random_jaccard": 0.2, "spearman": [0.9, 0.4, float("nan")],
        ... })
        >>> summarise(frame)[["examples", "jaccard", "above_random", "spearman_undefined"]].round(2).values.tolist()
        [[3.0, 0.7, 0.5, 0.33]]
    """
    if "perturbation" in frame and "comprehensiveness" not in frame:
        raise UserError(
            "stability without fidelity says nothing: a constant explanation has the best value; keep the column "
            "comprehensiveness of regex_lib.checks.stability beside it"
        )
    frame = frame.assign(above_random=frame["jaccard"] - frame["random_jaccard"])
    groups = [name for name in _GROUPS if name in frame]
    scores = [name for name in _SCORES if name in frame]
    texts = frame.groupby([*groups, "example"], sort=False)[["same_prediction", *scores]].mean().reset_index()
    rows = []
    for names, group in texts.groupby(groups, sort=False):
        row = dict(zip(groups, names, strict=True))
        row |= {"examples": len(group), "same_prediction": group["same_prediction"].mean()}
        for score in scores:
            interval = bootstrap_interval(torch.tensor(group[score].to_list()).double(), level=level)
            row |= {score: interval.estimate, f"{score}_low": interval.low, f"{score}_high": interval.high}
            row[f"{score}_undefined"] = group[score].isna().mean()
        rows.append(row)
    return pd.DataFrame(rows)
