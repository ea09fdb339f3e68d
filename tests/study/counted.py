"""A measurement that notes when it is called, and waits, dies or fails as it is told: studies import this module.

``COUNTED_NOTES`` names the folder of the notes.
"""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from regex_lib.errors import UserError
from regex_lib.evaluation.shards import weights_digest
from regex_lib.study import measurement


def notes() -> Path:
    return Path(os.environ["COUNTED_NOTES"])


def calls() -> Counter[str]:
    """How often each model was measured in each way, as "weights act"."""
    file = notes() / "calls"
    return Counter(file.read_text().splitlines() if file.exists() else [])


def waiting() -> list[int]:
    """The processes that are in the middle of a measurement and wait."""
    file = notes() / "waiting"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def let_go() -> None:
    """Those that wait go on."""
    (notes() / "go").touch()


@measurement("counted")
def counted(models, splits, *, split="test", act="nothing"):
    name = f"{weights_digest(models[0].classifier)} {act}"
    with (notes() / "calls").open("a") as file:
        file.write(f"{name}\n")
    times = calls()[name]
    if act == "wait":
        with (notes() / "waiting").open("a") as file:
            file.write(f"{os.getpid()}\n")
        deadline = time.monotonic() + 900
        while not (notes() / "go").exists():
            assert time.monotonic() < deadline, "nobody let it go"
            time.sleep(0.05)
    if act == "die always" or (act == "die once" and times == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "fail always" or (act == "fail once" and times == 1):
        raise RuntimeError(f"call {times} failed")
    if act == "wrong":
        raise UserError("this is wrong")
    return pd.DataFrame({"texts": [float(len(splits[split]))]})
