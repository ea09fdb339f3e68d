"""Run a study, and make tables and figures of it."""

from collections import Counter
from collections.abc import Mapping, Set
from datetime import datetime
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from regex_lib.cli.shared import open_console
from regex_lib.errors import UserError, check_names

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
    method: Annotated[str | None, typer.Option(help="The recipe whose claims are judged; regex by default.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="A folder for means.csv, differences.csv, costs.csv, coverage.csv and the numbered tables."),
    ] = None,
) -> None:
    """Show the differences between recipes and what they say of a method, or write all tables to a folder."""
    from regex_lib.study import collect, costs, coverage, means, reports, scores, verdicts

    opened = None if file.suffix == ".parquet" else _open(file, store, only)
    rows = collect(*opened) if opened else _exported(file, only)
    if method is not None:
        check_names("recipe", [method], set(rows["recipe"]))
    measured = scores(rows)
    bases = _bases(rows, measured, base)
    contents = {"means": means(measured)}
    compared = _differences(measured, bases, needed=output is None)
    if len(compared):  # without, the tables that compare nothing are left
        contents["differences"] = compared
    made = reports(rows, method=method or "regex", base=bases[0])
    judged = verdicts(made)
    if output is None:
        open_console().print(contents["differences"].fillna("").to_string(index=False))
    for _, one in judged.iterrows():
        open_console().print(f"Table {one['table'].replace('_', ' ')}: {one['sentence']}")
    if output is None:
        return
    contents |= {"costs": costs(rows), "verdicts": judged}
    contents |= {f"table_{name}": report.table for name, report in made.items()}
    if opened:
        contents["coverage"] = coverage(*opened)
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
    metrics: Annotated[
        str | None, typer.Option(help="Names, separated by commas; sufficiency,comprehensiveness by default.")
    ] = None,
    over_random: Annotated[
        bool, typer.Option("--over-random", help="Subtract each model's random attribution first.")
    ] = False,
) -> None:
    """Draw how far each recipe is from another, with 95 % intervals."""
    from regex_lib.evaluation import DEFAULT_METRICS
    from regex_lib.study import collect, differences_figure, scores

    rows = _exported(file, only) if file.suffix == ".parquet" else collect(*_open(file, store, only))
    measured = scores(rows)
    given = [name.strip() for name in metrics.split(",")] if metrics is not None else []
    check_names("metric", given, set(measured["metric"]))
    table = _differences(measured, _bases(rows, measured, base))
    drawn = differences_figure(table, given or DEFAULT_METRICS, minus="random" if over_random else "")
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
    names = [task.labels | {"kind": task.kind} for job in jobs for task in job.tasks]
    known = {key: {str(labels[key]) for labels in names if key in labels} for key in dict.fromkeys(chain(*names))}
    conditions = _conditions(only, known)
    parts = [_part(job, conditions) for job in jobs]
    return [job for job in parts if job.tasks], Store(folder or Path("runs") / file.stem)


def _exported(file: Path, only: list[str] | None) -> "pd.DataFrame":
    """What `export` wrote, or the part of it that is wanted."""
    from regex_lib.study import read_export

    rows = read_export(file)
    columns = [name for name in rows if name in ("seed", "example") or rows[name].dtype == "category"]
    known = {name: set(rows[name].dropna().astype(str)) for name in columns} if only else {}
    for key, values in _conditions(only, known):
        of_training = (rows["kind"] == "train") & (rows[key].isna() | (key == "kind"))
        rows = rows[of_training | rows[key].astype(str).isin(values)]
    return rows


def _bases(rows: "pd.DataFrame", measured: "pd.DataFrame", wanted: list[str] | None) -> list[str]:
    """The recipes to compare with: those of which anything is measured."""
    wanted = wanted or [rows["recipe"].iloc[0]]
    found = [base for base in wanted if (measured["recipe"] == base).any()]
    missing = ", ".join(base for base in wanted if base not in found)
    if not found:
        raise UserError(f"nothing is measured yet of: {missing}")
    if missing:  # a study that goes on has its tables all the same
        open_console().print(f"not measured yet: {missing}")
    return found


def _differences(measured: "pd.DataFrame", bases: list[str], needed: bool = True) -> "pd.DataFrame":
    """Each recipe minus each base; a base that has no cell in common with another recipe is told, and left out.

    Args:
        measured: from :func:`regex_lib.study.scores`.
        bases: recipes.
        needed: whether it is an error if none is left.
    """
    import pandas as pd

    from regex_lib.study import differences

    found, missing = [], []
    for base in bases:
        try:
            found.append(differences(measured, base))
        except UserError as error:
            missing.append(str(error))
    if needed and not found:
        raise UserError("; ".join(missing))
    for message in missing:
        open_console().print(message)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _conditions(only: list[str] | None, known: Mapping[str, Set[str]]) -> list[tuple[str, list[str]]]:
    """Keys and the values that are wanted of them; ``known`` has all that there are."""
    conditions = []
    for condition in only or []:
        key, equals, text = condition.partition("=")
        key, values = key.strip(), [value.strip() for value in text.split(",")]
        if not equals or key not in known:
            raise UserError(f"--only must be KEY=VALUE, with a key of {', '.join(sorted(known))}; got {condition!r}")
        check_names(f"value of {key}", values, known[key])
        conditions.append((key, values))
    return conditions


def _part(job: "Job", conditions: list[tuple[str, list[str]]]) -> "Job":
    """The tasks of a job that meet all conditions, and the training if it does, or any of them is left.

    A training knows nothing of a condition on measurements, such as ``level=word``.
    """

    def meets(task: "Task", conditions: list[tuple[str, list[str]]]) -> bool:
        labels = {"kind": task.kind} | task.labels
        return all(str(labels.get(key, "")) in values for key, values in conditions)

    measured = job.only(lambda task: task.kind != "train" and meets(task, conditions)).tasks
    of_training = conditions
    if measured:
        of_training = [(key, values) for key, values in conditions if key in job.tasks[0].labels]
    return job.only(lambda task: task in measured or (task.kind == "train" and meets(task, of_training)))


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
