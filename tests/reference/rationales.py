"""Agreement with marked words from the papers' definitions, one text at a time: DeYoung et al. 2020, Bastings et al.
2022."""

import math
from collections.abc import Sequence


def token_f1(selected: Sequence[bool], human: Sequence[bool]) -> float:
    """By precision and recall."""
    ours, theirs = ({place for place, mark in enumerate(marks) if mark} for marks in (selected, human))
    if not theirs:
        return math.nan
    if not ours & theirs:
        return 0.0
    precision, recall = len(ours & theirs) / len(ours), len(ours & theirs) / len(theirs)
    return 2 * precision * recall / (precision + recall)


def spans(marks: Sequence[bool]) -> list[set[int]]:
    """The runs of marked tokens."""
    runs: list[set[int]] = []
    for place, mark in enumerate(marks):
        if mark and place and marks[place - 1]:
            runs[-1].add(place)
        elif mark:
            runs.append({place})
    return runs


def iou_f1(selected: Sequence[bool], human: Sequence[bool], threshold: float = 0.5) -> float:
    """For each selected span the best partner, as in ERASER's code, but for a match of exactly the threshold."""
    ours, theirs = spans(selected), spans(human)
    if not theirs:
        return math.nan
    best = [max(len(span & other) / len(span | other) for other in theirs) for span in ours]
    matches = sum(overlap > threshold for overlap in best)
    if not matches:
        return 0.0
    precision, recall = matches / len(ours), matches / len(theirs)
    return 2 * precision * recall / (precision + recall)


def order(scores: Sequence[float], content: Sequence[bool]) -> list[int]:
    """Content tokens from the highest score to the lowest; of equal scores the earlier first."""
    return sorted((place for place, counts in enumerate(content) if counts), key=lambda place: -scores[place])


def precision_at_k(scores: Sequence[float], planted: Sequence[bool], content: Sequence[bool]) -> float:
    ranked = [planted[place] for place in order(scores, content)]
    k = sum(ranked)
    return sum(ranked[:k]) / k if k else math.nan


def mean_rank(scores: Sequence[float], planted: Sequence[bool], content: Sequence[bool]) -> float:
    places = [rank for rank, place in enumerate(order(scores, content), start=1) if planted[place]]
    return sum(places) / len(places) if places else math.nan
