"""Token F1, IOU F1 and AUPRC: against plain loops and scikit-learn, and their guarantees."""

import itertools

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import rationales
from reference.unchecked import without_type_checks

from regex_lib.metrics import auprc, iou_f1, token_f1

many = settings(deadline=None, max_examples=60)
ROWS = st.integers(1, 8).flatmap(
    lambda width: st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=2, max_size=4)
)


@pytest.mark.parametrize("metric", ["token_f1", "iou_f1"])
@many
@given(rows=ROWS, other=st.integers(0, 2**16))
def test_f1_equals_a_plain_loop(metric, rows, other):
    human = torch.tensor(rows)
    selected = torch.rand(human.shape, generator=torch.Generator().manual_seed(other)) < 0.5
    actual = {"token_f1": token_f1, "iou_f1": iou_f1}[metric](selected, human)
    expected = [getattr(rationales, metric)(*pair) for pair in zip(selected.tolist(), human.tolist(), strict=True)]
    assert actual.tolist() == pytest.approx(expected, nan_ok=True)
    assert actual.dtype == torch.float64


def test_every_pair_of_short_masks_has_the_iou_of_the_loop():
    masks = list(itertools.product([False, True], repeat=5))
    pairs = list(itertools.product(masks, masks))
    selected, human = (torch.tensor([pair[side] for pair in pairs]) for side in (0, 1))
    for threshold in (0.5, 0.7):
        expected = [rationales.iou_f1(*pair, threshold) for pair in pairs]
        assert iou_f1(selected, human, threshold=threshold).tolist() == pytest.approx(expected, nan_ok=True)


def test_token_f1_equals_scikit_learn():
    generator = torch.Generator().manual_seed(1)
    selected, human = (torch.rand(20, 9, generator=generator) < 0.4 for _ in range(2))
    human[:, 0] = True
    expected = [sklearn.metrics.f1_score(h, s, zero_division=0.0) for s, h in zip(selected, human, strict=True)]
    assert token_f1(selected, human).tolist() == pytest.approx(expected)


def test_a_span_that_overlaps_by_exactly_half_does_not_count():
    human = torch.tensor([[True, True, False, False]])
    assert iou_f1(torch.tensor([[True, False, False, False]]), human).item() == 0
    assert iou_f1(torch.tensor([[True, True, True, False]]), human).item() == 1


@pytest.mark.parametrize("threshold", [0.49, 1.0])
def test_a_threshold_that_lets_a_span_have_two_partners_is_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold must be at least 0\.5 and below 1"):
        iou_f1(torch.ones(1, 2).bool(), torch.ones(1, 2).bool(), threshold=threshold)


@many
@given(rows=ROWS, seed=st.integers(0, 2**16), levels=st.sampled_from([1, 3, 50]))
def test_auprc_equals_scikit_learn(rows, seed, levels):
    human = torch.tensor(rows)
    generator = torch.Generator().manual_seed(seed)
    content = torch.rand(human.shape, generator=generator) < 0.8
    scores = torch.randint(-levels, levels + 1, human.shape, generator=generator) / 8.0
    for area, s, h, c in zip(auprc(scores, human, content), scores, human, content, strict=True):
        if not (h & c).any():
            assert area.isnan()
        else:
            precision, recall, _ = sklearn.metrics.precision_recall_curve(h[c].numpy(), s[c].numpy())
            assert area.item() == pytest.approx(sklearn.metrics.auc(recall, precision))


def test_a_perfect_ranking_has_the_area_one_and_a_random_one_the_share():
    generator = torch.Generator().manual_seed(0)
    human = torch.rand(400, 100, generator=generator) < 0.3
    content = torch.ones_like(human)
    assert auprc(human.float(), human, content).tolist() == pytest.approx([1.0] * 400)
    random = auprc(torch.rand(400, 100, generator=generator), human, content).mean().item()
    assert random == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_order_of_equal_scores_does_not_change_the_area(dtype):
    scores = torch.tensor([[1.0, 1.0, 0.0]], dtype=dtype)
    content = torch.ones(1, 3, dtype=torch.bool)
    marks = torch.tensor([[True, False, False], [False, True, False]])
    areas = [auprc(scores, row[None], content).item() for row in marks]
    assert areas[0] == areas[1]


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_marks_of_zeros_and_ones_are_the_same_marks(dtype):
    generator = torch.Generator().manual_seed(0)
    selected, human, content = (torch.rand(20, 9, generator=generator) < 0.6 for _ in range(3))
    scores = torch.rand(20, 9, generator=generator)
    for metric, masks in ((token_f1, (selected, human)), (iou_f1, (selected, human))):
        with without_type_checks():
            found = metric(*(mask.to(dtype) for mask in masks))
        torch.testing.assert_close(found, metric(*masks), equal_nan=True)
    with without_type_checks():
        found = auprc(scores, human.to(dtype), content.to(dtype))
    torch.testing.assert_close(found, auprc(scores, human, content), equal_nan=True)


def test_a_token_without_a_number_leaves_no_area():
    scores = torch.tensor([[0.9, torch.nan, 0.1], [0.9, 0.5, torch.nan]])
    human, content = torch.tensor([[True, False, True]] * 2), torch.tensor([[True, True, True], [True, True, False]])
    assert auprc(scores, human, content).isnan().tolist() == [True, False]


def test_texts_without_marks_or_tokens_give_nan_and_no_error():
    none, all_ = torch.zeros(2, 3, dtype=torch.bool), torch.ones(2, 3, dtype=torch.bool)
    scores = torch.ones(2, 3)
    for value in (token_f1(all_, none), iou_f1(all_, none), auprc(scores, none, all_), auprc(scores, all_, none)):
        assert value.isnan().all()
    assert token_f1(none, all_).tolist() == iou_f1(none, all_).tolist() == [0, 0]
    one = torch.ones(1, 1, dtype=torch.bool)
    assert token_f1(one, one).item() == iou_f1(one, one).item() == auprc(torch.ones(1, 1), one, one).item() == 1
    assert np.isnan(auprc(torch.ones(1, 0), one[:, :0], one[:, :0]).numpy()).all()
