"""A reader's answer is compared with the package's, and what differs is told without giving the answer away."""

import numpy as np
import pandas as pd
import pytest
import torch

from regex_lib.book import check_answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (1, 1.0),
        (0.50001, 0.5),
        (torch.tensor([1.0, 2.0]), np.array([1.0, 2.0])),
        (torch.tensor(2.0, requires_grad=True), 2),
        (torch.tensor([True]), torch.tensor([True])),
        ([1, 2], (1, 2)),
        ({"a": torch.ones(2)}, {"a": np.ones(2)}),
        ("regex", "regex"),
        (torch.tensor([4, 3]), [4, 3]),
        (np.array([4.0, 3.0]), (4, 3)),
        (pd.Series([4, 3], index=["a", "b"]), [4, 3]),
        (torch.tensor([[1.0, 2.0]]), [torch.tensor([1.0, 2.0])]),
        ([torch.tensor(1.0, requires_grad=True), torch.tensor(2.0)], torch.tensor([1.0, 2.0])),
        (torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True), [1, 2]),
        (torch.tensor([1.0], dtype=torch.bfloat16), torch.tensor([1.0])),
        (float("inf"), float("inf")),
    ],
)
def test_a_right_answer_is_right(answer, expected):
    verdict = check_answer(answer, expected)
    assert verdict
    assert repr(verdict) == "Correct."


@pytest.mark.parametrize(
    ("answer", "expected", "message"),
    [
        (0.4, 0.5, "Not yet: the answer differs by 0.1."),
        (float("nan"), 0.5, "Not yet: the answer differs by nan."),
        (torch.zeros(2), torch.zeros(3), "Not yet: the answer should have the shape (3,), and has (2,)."),
        ("half", 0.5, "Not yet: the answer should be a number."),
        ([1, 2], [1, 2, 3], "Not yet: the answer should have 3 items."),
        ([1, 5], [1, 2], "Not yet: [1] differs by 3."),
        ({"a": 1}, {"b": 1}, "Not yet: the answer should have the keys ['b']."),
        ({"a": [1]}, {"a": [2]}, "Not yet: ['a'][0] differs by 1."),
        ("vanilla", "regex", "Not yet: the answer is another one."),
        (3, [1, 2, 3], "Not yet: the answer should have 3 items."),
        (torch.tensor(3), [1, 2, 3], "Not yet: the answer should have 3 items."),
        (torch.tensor([1, 5]), [1, 2], "Not yet: [1] differs by 3."),
    ],
)
def test_a_wrong_answer_is_told_what_differs(answer, expected, message):
    verdict = check_answer(answer, expected)
    assert not verdict
    assert repr(verdict) == message


@pytest.mark.parametrize("answer", [..., None])
def test_an_exercise_that_was_not_tried_is_told_so(answer):
    assert repr(check_answer(answer, 1)) == "Not answered yet: replace the dots, and run the cell again."


def test_the_tolerance_can_be_chosen():
    assert not check_answer(1.01, 1.0)
    assert check_answer(1.01, 1.0, tolerance=0.02)


def test_a_notebook_shows_the_verdict_with_its_text_escaped():
    shown = check_answer({"a": 1}, {"<b>": 1})._repr_html_()
    assert "&lt;b&gt;" in shown
    assert 'role="status"' in shown
