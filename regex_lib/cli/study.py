"""Run a study, and make tables and figures of it."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from regex_lib.cli.shared import open_console
from regex_lib.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from regex_lib.study import Job, Pool, Progress, Store, Task

study = typer.Typer(help="Train and measure a whole grid that a file describes, and make tables and figures of it.")


class Engine(StrEnum):
    """Where a study runs."""

    local = "local"
    ray = "ray"


File = Annotated[Path, typer.Argument(help="The study: a .toml file.")]
Rows = Annotated[Path, typer.Argument(help="The study: a .toml file, or what `export` wrote: a .parquet file.")]
Folder = Annotated[
    Path | None, typer.Option("--store", help="The folder of results: runs/<name of the file> by default.")
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="KEY=VALUE", help="Only a part, such as recipe=regex,vanilla or kind=quality."),
]
Bases = Annotated[list[str] | None, typer.Option(help="The recipe to compare with; the study's first by default.")]


@study.command()
def run(
    file: File,
    store: Folder = None,
    only: Only = None,
    processes: Annotated[int, typer.Option(min=1, help="Jobs at once, on this machine.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Of each job: its share of the cores; 1 on Ray.")] = None,
    attempts: Annotated[int, typer.Option(min=1, help="How often a task that fails is tried.")] = 3,
    engine: Annotated[Engine, typer.Option(help="This machine, or a Ray cluster.")] = Engine.local,
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster; a new one on this machine without.")] = None,
    gpus: Annotated[float, typer.Option(min=0, help="Of each job on Ray: .25 lets four jobs share one.")] = 0,
) -> None:
    """Do what is not done yet. It can be stopped at any time, and run twice at once."""
    from regex_lib.study import run_jobs

    jobs, results = _open(file, store, only)
    tasks = {task for job in jobs for task in job.tasks}
    done = sum(map(results.has, tasks))
    print(f"{len(tasks)} tasks in {results.folder}, {done} of them done", flush=True)  # noqa: T201
    if done < len(tasks):
        pool = _pool(engine, results, processes, threads, address, gpus)
        failures = run_jobs(jobs, results, pool, attempts=attempts, report=_tell)
        if failures:
            names = "; ".join(sorted(f"{task.kind} of {_name(task.labels)}" for task in failures))
            raise UserError(f"these failed, and what depends on them is not done: {names}")
    print("all tasks are done")  # noqa: T201


@study.command()
def status(file: File, store: Folder = None, only: Only = None) -> None:
    """Show what is done, what is being done, and what failed."""
    jobs, results = _open(file, store, only)
    tasks = list(dict.fromkeys(task for job in jobs for task in job.tasks))
    counts = Counter((task.kind, _state(task, results)) for task in tasks)
    table = Table(title=str(results.folder), box=box.SIMPLE_HEAD)
    states = ("done", "running", "failed", "waiting")
    for column in ("kind", *states):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind in dict.fromkeys(task.kind for task in tasks):
        table.add_row(kind, *(str(counts[kind, state]) for state in states))
    console = open_console()
    console.print(table)
    for task in tasks:
        if failure := results.failure(task):
            console.print(f"{task.kind} of {_name(task.labels)} failed at {failure['date']}: {failure['error']}")


@study.command(name="table")
def tables(
    file: Rows,
    store: Folder = None,
    only: Only = None,
    base: Bases = None,
    method: Annotated[str, typer.Option(help="The recipe whose claims are judged.")] = "regex",
    output: Annotated[
        Path | None, typer.Option(help="A folder for means.csv, differences.csv, costs.csv and the numbered tables.")
    ] = None,
) -> None:
    """Show the differences between recipes and what they say of a method, or write all tables to a folder."""
    from regex_lib.study import costs, means, reports, scores, verdicts

    rows = _rows(file, store, only)
    differences = _differences(rows, base)
    made = reports(rows, method=method, base=differences["base"].iloc[0])
    judged = verdicts(made)
    if output is None:
        open_console().print(differences.fillna("").to_string(index=False))
    for _, one in judged.iterrows():
        open_console().print(f"Table {one['table'].replace('_', ' ')}: {one['sentence']}")
    if output is None:
        return
    contents = {"means": means(scores(rows)), "differences": differences, "costs": costs(rows), "verdicts": judged}
    contents |= {f"table_{name}": report.table for name, report in made.items()}
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            content.to_csv(output / f"{name}.csv", index=False)
    except OSError as error:
        raise UserError(f"cannot write to {str(output)!r}: {error.strerror}") from error
    print(f"wrote {', '.join(f'{name}.csv ({len(content)} rows)' for name, content in contents.items())} to {output}")  # noqa: T201


@study.command()
def figure(
    file: Rows,
    output: Annotated[Path, typer.Option(help="A .png, .svg or .pdf file.")],
    store: Folder = None,
    only: Only = None,
    base: Bases = None,
    metrics: Annotated[str, typer.Option(help="Names, separated by commas.")] = "sufficiency,comprehensiveness",
    over_random: Annotated[
        bool, typer.Option("--over-random", help="Subtract each model's random attribution first.")
    ] = False,
) -> None:
    """Draw how far each recipe is from another, with 95 % intervals."""
    from regex_lib.study import differences_figure

    rows = _differences(_rows(file, store, only), base)
    drawn = differences_figure(rows, metrics.split(","), minus="random" if over_random else "")
    try:
        drawn.savefig(output, bbox_inches="tight")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {str(output)!r}: {error}") from error


@study.command()
def export(
    file: File,
    output: Annotated[Path, typer.Option(help="A .parquet file.")],
    store: Folder = None,
    only: Only = None,
) -> None:
    """Write all that is measured to one file, from which tables and figures can be made again."""
    from regex_lib.study import export

    export(*_open(file, store, only), output)
    print(f"wrote {output} ({output.stat().st_size / 2**20:.1f} MiB)")  # noqa: T201


def _open(file: Path, folder: Path | None, only: list[str] | None) -> tuple[list["Job"], "Store"]:
    """The jobs of a study, or those of their tasks that are wanted, and its store."""
    import datasets

    from regex_lib.study import Store, plan, read_study

    datasets.disable_progress_bars()
    jobs = plan(read_study(file))
    known = {name for job in jobs for task in job.tasks for name in task.labels}
    for key, values in _conditions(only, known):
        wanted = _has(key, values)
        jobs = [job.only(wanted) for job in jobs]
    return [job for job in jobs if job.tasks], Store(folder or Path("runs") / file.stem)


def _rows(file: Path, folder: Path | None, only: list[str] | None) -> "pd.DataFrame":
    """What is measured: of a store, or of an export."""
    from regex_lib.study import collect, read_export

    if file.suffix != ".parquet":
        return collect(*_open(file, folder, only))
    rows = read_export(file)
    for key, values in _conditions(only, set(rows.columns)):
        rows = rows[rows[key].isna() | rows[key].astype(str).isin(values)]
    return rows


def _differences(rows: "pd.DataFrame", bases: list[str] | None) -> "pd.DataFrame":
    import pandas as pd

    from regex_lib.study import differences, scores

    table, wanted = scores(rows), bases or [rows["recipe"].iloc[0]]
    measured = [base for base in wanted if (table["recipe"] == base).any()]
    if measured and len(measured) < len(wanted):  # a study that goes on has its tables all the same
        open_console().print(f"not measured yet: {', '.join(base for base in wanted if base not in measured)}")
    return pd.concat([differences(table, base) for base in measured or wanted], ignore_index=True)


def _conditions(only: list[str] | None, known: set[str]) -> list[tuple[str, list[str]]]:
    conditions = []
    for condition in only or []:
        key, equals, values = condition.partition("=")
        if not equals or key not in known:
            raise UserError(f"--only must be KEY=VALUE, with a key of {', '.join(sorted(known))}; got {condition!r}")
        conditions.append((key, values.split(",")))
    return conditions


def _has(key: str, values: list[str]) -> Callable[["Task"], bool]:
    """Whether a task has one of the values; a training has only some of the keys, and is kept for the others."""
    return lambda task: key not in task.labels or str(task.labels[key]) in values


def _pool(
    engine: Engine, results: "Store", processes: int, threads: int | None, address: str | None, gpus: float
) -> "Pool":
    if engine is Engine.local:
        from regex_lib.study import LocalPool

        return LocalPool(results, processes, threads)
    try:
        from regex_lib.study.ray_pool import RayPool
    except ModuleNotFoundError as error:
        raise UserError("the engine 'ray' needs the package ray: pip install 'regex-lib[cluster]'") from error
    return RayPool(results, address, threads or 1, gpus)


def _state(task: "Task", results: "Store") -> str:
    if results.has(task):
        return "done"
    if results.is_locked(task):
        return "running"
    return "failed" if results.failure(task) else "waiting"


def _tell(progress: "Progress") -> None:
    """One line for each job that has ended, and for each failure."""
    training = {name: progress.job.tasks[0].labels.get(name) for name in ("data", "model", "recipe", "seed")}
    state = f"{progress.left} tasks left" if progress.left else "done"
    line = f"{datetime.now():%H:%M:%S} {_name(training)}: {state}; {progress.waiting} jobs wait"
    print(line, flush=True)  # noqa: T201
    for task, error in progress.failures.items():
        print(f"  {task.kind} of {_name(task.labels)} failed: {error}", flush=True)  # noqa: T201


def _name(labels: dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels.items() if name != "kind")
