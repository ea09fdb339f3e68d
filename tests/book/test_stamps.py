"""The stamp says what ran, and on how much of the machine."""

import re

import pytest
import torch

from regex_lib.book.stamps import make_stamp, provenance


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is then a GPU")
def test_the_device_is_the_threads_that_ran_of_the_cores_that_are_there(small_book, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stamp = make_stamp(small_book.source("01_chapter"), {"epochs": 1}, 75.0)
    assert re.fullmatch(r"CPU, 1 of \d+ cores", stamp["device"])
    assert "with CPU-size settings (epochs=1)" in provenance(stamp)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert make_stamp(small_book.source("01_chapter"), {}, 1.0)["device"].startswith(
        f"CPU, {torch.get_num_threads()} of"
    )
