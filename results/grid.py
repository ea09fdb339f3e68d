"""A table that grows by the rows of each finished job: what the scripts of checks share."""

import argparse
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import torch


def main(description: str, script: str, jobs: Sequence[dict[str, Any]], job: Callable[..., pd.DataFrame]) -> None:
    """Do the jobs that the table lacks.

    Args:
        description: of the script.
        script: the path of the script, whose name the table gets. A job is done if the table has rows with all of
            its values.
        jobs: named arguments, the same names for each, one of them ``recipe``.
        job: what gives the rows of one job; a function of a module, so that other processes find it.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1, help="jobs at once, each with its share of the cores")
    parser.add_argument("--only", nargs="*", help="only these recipes")
    options = parser.parse_args()
    table = Path(script).parent / "tables" / f"{Path(script).stem}.csv"
    rows = [pd.read_csv(table)] if table.exists() else []
    names = list(jobs[0])
    done = {tuple(map(str, values)) for values in rows[0][names].to_numpy().tolist()} if rows else set()
    waiting = [
        arguments
        for arguments in jobs
        if tuple(map(str, arguments.values())) not in done and (not options.only or arguments["recipe"] in options.only)
    ]
    threads = max(1, torch.get_num_threads() // options.processes)
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        for finished in as_completed(pool.submit(_run, job, arguments, threads) for arguments in waiting):
            rows.append(finished.result())
            pd.concat(rows).to_csv(table, index=False)
            print(rows[-1].to_string(index=False), flush=True)  # noqa: T201


def _run(job: Callable[..., pd.DataFrame], arguments: dict[str, Any], threads: int) -> pd.DataFrame:
    torch.set_num_threads(threads)
    datasets.disable_progress_bars()
    found = job(**arguments)
    columns = [*arguments, *found.columns.difference([*arguments], sort=False)]
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return found.assign(**arguments)[columns].round(4).assign(commit=commit, torch=torch.__version__)
