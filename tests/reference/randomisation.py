"""Agreement of two rankings, in plain Python and exact arithmetic."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import comb

from reference.ranking import exact_budget, ranking


def jaccard(first: Sequence[float], second: Sequence[float], content: Sequence[bool], ratio: str) -> Fraction:
    k = exact_budget(ratio, sum(content), "up")
    ours, theirs = (set(ranking(scores, content)[:k]) for scores in (first, second))
    return Fraction(len(ours & theirs), len(ours | theirs))


def mean_jaccard_of_all_sets(tokens: int, k: int) -> Fraction:
    """Over every set of k tokens against the first k: by symmetry, that of two random sets."""
    first, sets = set(range(k)), list(combinations(range(tokens), k))
    return Fraction(sum(Fraction(len(first & set(s)), len(first | set(s))) for s in sets), len(sets))


def expected_jaccard(tokens: int, k: int) -> Fraction:
    """The same from the hypergeometric distribution."""
    ways = (
        comb(k, shared) * comb(tokens - k, k - shared) * Fraction(shared, 2 * k - shared) for shared in range(k + 1)
    )
    return sum(ways, Fraction(0)) / comb(tokens, k)
