"""Decision flips: by hand, against a plain loop, and at the edge."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regex_lib.metrics import decision_flip, flip_fraction

many = settings(deadline=None, max_examples=60)


def plain_fraction(curve, removed, features):
    """One example: the class of every step in turn."""
    classes = [max(range(len(row)), key=lambda c: (row[c], -c)) for row in curve]
    flips = [k for c, k in zip(classes, removed, strict=True) if c != classes[0] and k <= features]
    return min(flips, default=features) / features


def curves(sizes, classes, seed, dtype=torch.float64):
    steps = max(sizes) + 1
    generator = torch.Generator().manual_seed(seed)
    rounded = torch.rand(len(sizes), steps, classes, generator=generator, dtype=dtype).mul(4).round()  # with ties
    return rounded, torch.arange(steps).expand(len(sizes), steps), torch.tensor(sizes)


def test_the_class_of_the_second_text_flips_as_calculated_by_hand():
    full = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    removed = torch.tensor([[0.6, 0.4], [0.7, 0.3], [0.5, 0.5]])
    assert decision_flip(full, removed).tolist() == [False, True, True]  # of equal probabilities, the lower class


def test_the_first_of_several_flips_counts():
    steps = torch.tensor([[[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8]]])
    assert flip_fraction(steps, torch.arange(5)[None], torch.tensor([4])).tolist() == [0.5]


def test_steps_may_be_some_ratios_only():
    steps = torch.tensor([[[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]])
    assert flip_fraction(steps, torch.tensor([[0, 2, 5]]), torch.tensor([20])).tolist() == [0.25]


def test_a_text_whose_class_never_changes_has_the_fraction_1():
    never = torch.tensor([0.9, 0.1]).expand(1, 4, 2)
    assert flip_fraction(never, torch.arange(4)[None], torch.tensor([3])).tolist() == [1.0]


@many
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(2, 4), st.integers(0, 1000))
def test_the_fraction_equals_a_plain_loop(sizes, classes, seed):
    probabilities, removed, features = curves(sizes, classes, seed)
    rows = zip(probabilities.tolist(), removed.tolist(), sizes, strict=True)
    assert flip_fraction(probabilities, removed, features).tolist() == [plain_fraction(*row) for row in rows]


@many
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(2, 4), st.integers(0, 1000))
def test_one_token_texts_flip_as_the_decision_does_and_fractions_lie_above_0(sizes, classes, seed):
    probabilities, removed, features = curves(sizes, classes, seed)
    fraction = flip_fraction(probabilities, removed, features)
    assert ((fraction > 0) & (fraction <= 1)).all()
    first = decision_flip(probabilities[:, 0], probabilities[:, 1])
    assert torch.equal(fraction[first], 1 / features[first].double())
    assert (fraction[~first & (features > 1)] > 1 / features[~first & (features > 1)]).all()


@many
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000))
def test_steps_behind_the_end_change_nothing(size, more, seed):
    probabilities, removed, features = curves([size], 3, seed)
    garbage = torch.randn(1, more, 3, dtype=torch.float64)
    longer = torch.cat([probabilities, garbage], dim=1), torch.arange(size + 1 + more)[None], features
    assert torch.equal(flip_fraction(*longer), flip_fraction(probabilities, removed, features))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_text_without_tokens_has_no_fraction(dtype):
    fraction = flip_fraction(*curves([0, 2], 2, 0, dtype))
    assert fraction.dtype == dtype
    assert fraction.isnan().tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_probabilities_lose_no_token(dtype):
    curve = torch.tensor([[[0.9, 0.1], [0.2, 0.8]]], dtype=dtype)
    fraction = flip_fraction(curve, torch.tensor([[0, 301]]), torch.tensor([403]))
    assert fraction.dtype == torch.float32
    assert fraction.item() == pytest.approx(301 / 403)


def test_a_curve_that_does_not_begin_with_the_full_text_is_refused():
    with pytest.raises(ValueError, match=r"the first step must remove nothing, got \[1\] removed tokens"):
        flip_fraction(torch.rand(1, 2, 2), torch.tensor([[1, 2]]), torch.tensor([2]))
