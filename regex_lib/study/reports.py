"""The tables that answer what a study asks, each with what it says of the claims made for a method.

Every table has the recipe's ``mean``, that of the ``base``, and their ``difference`` with its 95 % interval, all of the
seeds and examples that both have; a table is left out where nothing of its kind is measured.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import pandas as pd

from regex_lib.attributions import UNSIGNED
from regex_lib.errors import UserError
from regex_lib.study.tables import NUMBERS, costs, differences, means, metric_minus_metric, scores
from regex_lib.study.verdict import Verdict, verdict

__all__ = ["COMPARABLE", "NO_TAU", "Report", "reports", "verdicts"]

COMPARABLE = 0.03
"""How much lower an accuracy or F1 may be and still be called comparable: ours, for the paper names no margin."""

NO_TAU = UNSIGNED | {"leave_one_out"}
"""Attributions whose leave-one-out tau says nothing: they have no sign, or are ``leave_one_out``, its own yardstick."""

AOPC = ("sufficiency", "comprehensiveness")
NAOPC = ("naopc_sufficiency", "naopc_comprehensiveness")
ASKED = {
    "": AOPC,
    ", in NAOPC": NAOPC,
    ", in raw sufficiency": ("eraser_sufficiency",),
    ", in raw comprehensiveness": ("eraser_comprehensiveness",),
    ", in leave-one-out tau": ("loo_tau",),
}
"""What faithfulness is measured by, by what a claim says of it; raw scores are those that are not normalised."""

QUALITY = ("accuracy", "macro_f1", "ece")
CONTROLS = {
    "regex_random_mask": "its control regex_random_mask",
    "regex_shuffled_target": "its control regex_shuffled_target",
    "robust": "robust, which is regex without guidance,",
}
"""What the method is held against beside the base, as a claim names it."""

_MODELS = ["data", "model", "on", "recipe"]
_ONE_SIDED = 1.645  # standard errors: the 95 % quantile of the normal distribution
_NAMES = ("data", "model", "recipe", "on", "split", "attribution", "metric", "against", "minus")


@dataclass(frozen=True)
class Report:
    """A table and what it says."""

    table: pd.DataFrame
    verdicts: list[Verdict] = field(default_factory=list)


@dataclass(frozen=True)
class _Measured:
    """What all tables are made of."""

    rows: pd.DataFrame
    scores: pd.DataFrame
    method: str
    base: str

    def compared(self, kind: str, metrics: Sequence[str], base: str | None = None) -> pd.DataFrame:
        """Differences from the base in cells of one kind, with the means of both; nothing if there are none."""
        part = self.scores[(self.scores["kind"] == kind) & self.scores["metric"].isin(metrics)]
        try:
            table = differences(part, base or self.base)
        except UserError:  # the base, or all others, are not measured
            return pd.DataFrame(columns=[*_NAMES, *NUMBERS])
        return table if "minus" in table else table.assign(minus="")

    def quality(self, kind: str) -> pd.DataFrame:
        """Differences in :data:`QUALITY`. Of several measurements of a model one counts: that of the most texts."""
        table = self.compared(kind, QUALITY).sort_values("examples", ascending=False, kind="stable")
        return table.drop_duplicates([*_MODELS, "split", "metric"])

    def balanced_accuracies(self, kind: str) -> pd.DataFrame:
        """By recipe, as in :data:`_MODELS`: ``balanced_accuracy`` on the test texts, and ``learned``.

        Balanced accuracy is the mean recall of the classes. Whoever names one class for all texts, or guesses, has one
        divided by their number, however unequal they are. A recipe's models have learned something if each is above
        that, at 5 %, by a one-sided test over the texts. Of several measurements of a model one counts: that of the
        most texts.
        """
        part = _of_test(self.rows[self.rows["kind"] == kind])
        if not {"label", "accuracy"} <= {*part}:
            return pd.DataFrame()
        part = part.dropna(subset=["label", "accuracy"])
        sizes = part.groupby([*_MODELS, "seed", "task"], observed=True).size()
        fullest = sizes.groupby([*_MODELS, "seed"], observed=True).idxmax()
        part = part[part["task"].isin([task for *_, task in fullest])]
        recalls = part.groupby([*_MODELS, "seed", "label"], observed=True)["accuracy"]
        recalls = recalls.agg(["mean", "size"]).astype(float)
        classes = recalls.assign(error=recalls["mean"] * (1 - recalls["mean"]) / recalls["size"])
        models = classes.groupby([*_MODELS, "seed"], observed=True).agg(
            balanced_accuracy=("mean", "mean"), error=("error", "sum"), classes=("size", "size")
        )
        above_chance = models["balanced_accuracy"] - 1 / models["classes"]
        models["learned"] = above_chance > 1e-9 + _ONE_SIDED * models["error"] ** 0.5 / models["classes"]
        return models.groupby(_MODELS, observed=True).agg({"balanced_accuracy": "mean", "learned": "all"})


def reports(rows: pd.DataFrame, *, method: str = "regex", base: str = "vanilla") -> dict[str, Report]:
    """The tables by their names, ``1_faithfulness`` to ``6_cost``.

    Args:
        rows: from :func:`regex_lib.study.collect` or :func:`regex_lib.study.read_export`.
        method: the recipe that the claims are about; the tables have all recipes.
        base: the recipe that all are compared with.

    Raises:
        UserError: if nothing is measured.
    """
    measured = _Measured(rows, scores(rows), method, base)
    made = {
        "1_faithfulness": _faithfulness(measured),
        "2_out_of_domain": _out_of_domain(measured),
        "3_randomisation": _randomisation(measured),
        "4_rationales": _rationales(measured),
        "5_shortcuts": _shortcuts(measured),
        "6_cost": _cost(measured),
    }
    return {name: report for name, report in made.items() if len(report.table)}


def verdicts(made: dict[str, Report]) -> pd.DataFrame:
    """One row for each claim: ``table``, ``claim``, the numbers of its cells, ``verdict`` and the ``sentence``."""
    return pd.DataFrame(
        {
            "table": name,
            **asdict(one),
            "left_out": sum(one.left_out.values()),
            "verdict": one.word,
            "sentence": str(one),
        }
        for name, report in made.items()
        for one in report.verdicts
    )


def _faithfulness(measured: _Measured) -> Report:
    name, base = measured.method, measured.base
    compared = _of_test(measured.compared("faithfulness", [metric for metrics in ASKED.values() for metric in metrics]))
    of_table = compared[compared["metric"].isin([*AOPC, *NAOPC])]
    quality = _of_test(measured.quality("quality"))
    learned = measured.balanced_accuracies("quality")
    table = _with_levels(_beside_random(of_table), quality, learned)
    ours = _gated(_explained(compared, name), learned)
    ours = ours[~((ours["metric"] == "loo_tau") & ours["attribution"].isin(NO_TAU))]
    found = []
    for words, metrics in ASKED.items():
        asked = ours[ours["metric"].isin(metrics)]
        found += _verdicts(f"{name} makes explanations more faithful than {base} does{words}", _plain(asked))
        found += _verdicts(f"{name} does so beyond what it does to a random attribution{words}", _over_random(asked))
    for control, words in CONTROLS.items():
        over = _gated(_explained(_of_test(measured.compared("faithfulness", AOPC, base=control)), name), learned)
        found += _verdicts(f"{name} makes explanations more faithful than {words} does", _plain(over))
    of_method = _gated(quality[quality["recipe"] == name], learned)
    for metric, word in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        cells = of_method[of_method["metric"] == metric]
        found += _verdicts(f"{name} costs less than {COMPARABLE} of {word}", cells, margin=COMPARABLE)
    return Report(table, found)


def _out_of_domain(measured: _Measured) -> Report:
    compared = measured.compared("transfer", AOPC)
    if compared.empty:
        return Report(compared)
    name, base = measured.method, measured.base
    quality = measured.quality("transfer")
    learned = measured.balanced_accuracies("transfer")
    table = _with_levels(_beside_random(compared), _of_test(quality), learned)
    outside = _gated(_explained(compared[compared["on"] != compared["data"]], name), learned)
    f1 = _gated(quality[(quality["metric"] == "macro_f1") & (quality["recipe"] == name)], learned)
    f1 = f1[f1["on"] != f1["data"]]
    return Report(table, [
        *_verdicts(f"out of domain, {name} makes explanations more faithful than {base} does", _plain(outside)),
        *_verdicts(f"out of domain, {name} does so beyond what it does to a random attribution", _over_random(outside)),
        *_verdicts(f"out of domain, {name} costs less than {COMPARABLE} of macro-F1", f1, margin=COMPARABLE),
    ])  # fmt: skip


def _randomisation(measured: _Measured) -> Report:
    compared = _plain(measured.compared("randomisation", ["jaccard"]))
    if compared.empty:
        return Report(compared)
    table = compared[compared["attribution"] != "random"].drop(columns="minus")
    table["better"] = (table["against"] == "other_seed").map({True: "higher", False: "lower"})
    ours = table[table["recipe"] == measured.method]
    alike, unlike = ours[ours["against"] == "other_seed"], ours[ours["against"].isin(["random weights", "pretrained"])]
    flipped = unlike.assign(difference=-unlike["difference"], low=-unlike["high"], high=-unlike["low"])
    name, base = measured.method, measured.base
    return Report(table, [
        *_verdicts(f"models of two seeds are explained more alike with {name} than with {base}", alike),
        *_verdicts(f"trained and untrained models are explained less alike with {name} than with {base}", flipped),
    ])  # fmt: skip


def _rationales(measured: _Measured) -> Report:
    part = measured.scores[measured.scores["kind"] == "rationales"]
    table = metric_minus_metric(part, "macro_f1", "full_text_macro_f1")
    if table.empty:
        return Report(table)
    ours = table[(table["recipe"] == measured.method) & (table["attribution"] != "random")]
    compared = measured.compared("rationales", ["macro_f1"])
    name, base = measured.method, measured.base
    return Report(table, [
        *_verdicts(f"a reader of {name}'s rationales is comparable to the full-text model, within {COMPARABLE}",
                   ours, margin=COMPARABLE),
        *_verdicts(f"{name}'s rationales keep more of the task than those of {base}",
                   _plain(_explained(compared, name))),
    ])  # fmt: skip


def _shortcuts(measured: _Measured) -> Report:
    compared = _plain(measured.compared("shortcuts", ["precision"]))
    if compared.empty:
        return Report(compared)
    verified = means(measured.scores[measured.scores["kind"] == "shortcuts"]).query("metric == 'verified'")
    verified = verified.drop(columns="metric")
    table = _with_mean_of(compared.drop(columns="minus"), verified, "verified")
    ours = _explained(table, measured.method)
    claim = f"attributions find a shortcut better in models of {measured.method} than of {measured.base}"
    return Report(table, _verdicts(claim, ours))


def _cost(measured: _Measured) -> Report:
    """Time and memory of training; ``times`` is the time as a multiple of the base's, for the same seeds.

    On a CPU the time is that of the processor: it does not count what else the machine was busy with.
    """
    table = costs(measured.rows)
    if table.empty:
        return Report(table)
    on_cpu = table["cpu_seconds"].where(table["device"] == "cpu") if "cpu_seconds" in table else table["seconds"]
    table["seconds"] = on_cpu.fillna(table["seconds"])
    keys = ["data", "model", "train_texts", "device", "threads"]
    base = table[table["recipe"] == measured.base].set_index([*keys, "seed"])[["seconds", "memory_mib"]]
    table = table.join(base.add_suffix("_base"), on=[*keys, "seed"])
    for name, ratio in (("seconds", "times"), ("memory_mib", "times_memory")):
        table[ratio] = table[name] / table[f"{name}_base"]
    groups = table.groupby([*keys, "recipe"], sort=False, observed=True)
    summary = groups[["seconds", "memory_mib", "times", "times_memory"]].mean().round(2)
    return Report(summary.assign(seeds=groups.size()).reset_index())


def _verdicts(claim: str, cells: pd.DataFrame, margin: float = 0.0) -> list[Verdict]:
    """One, or none if there are no cells."""
    return [verdict(claim, cells, margin=margin)] if len(cells) else []


def _of_test(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["split"] == "test"]


def _plain(compared: pd.DataFrame) -> pd.DataFrame:
    return compared[compared["minus"] == ""]


def _over_random(compared: pd.DataFrame) -> pd.DataFrame:
    return compared[compared["minus"] == "random"]


def _explained(compared: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """A recipe's cells, but for those of the random attribution."""
    return compared[(compared["recipe"] == recipe) & (compared["attribution"] != "random")]


def _with_mean_of(table: pd.DataFrame, cells: pd.DataFrame, column: str) -> pd.DataFrame:
    """A table with a column more: the mean of the cell of the same names."""
    names = [name for name in cells if name not in ("mean", "seed_sd", "seeds", "examples")]
    nowhere = [name for name in names if name not in table]  # it is empty in each of its rows, and left out
    added = cells[[*names, "mean"]].rename(columns={"mean": column})
    filled = table.assign(**dict.fromkeys(nowhere, ""))
    return filled.merge(added, on=names, how="left", validate="m:1").drop(columns=nowhere)


def _beside_random(compared: pd.DataFrame) -> pd.DataFrame:
    """Differences over random as columns beside the plain ones."""
    plain, over = _plain(compared).drop(columns="minus"), _over_random(compared)
    keys = [name for name in plain if name not in NUMBERS]
    over = over[[*keys, "difference", "low", "high"]].rename(
        columns={name: f"{name}_over_random" for name in ("difference", "low", "high")}
    )
    return plain.merge(over, on=keys, how="left")


def _with_levels(table: pd.DataFrame, quality: pd.DataFrame, learned: pd.DataFrame) -> pd.DataFrame:
    """A table with accuracy, macro-F1, calibration and balanced accuracy of both models beside every number."""
    if table.empty or quality.empty:
        return table
    levels = quality.pivot_table(index=_MODELS, columns="metric", values=["mean", "base_mean"], observed=True)
    levels.columns = [metric if of == "mean" else f"base_{metric}" for of, metric in levels.columns]
    table = table.join(levels, on=_MODELS)
    if learned.empty:
        return table
    for prefix, recipe in (("", "recipe"), ("base_", "base")):
        table[f"{prefix}balanced_accuracy"] = _of_model(table, recipe, learned["balanced_accuracy"]).round(4)
    return _gated(table, learned)


def _gated(table: pd.DataFrame, learned: pd.DataFrame) -> pd.DataFrame:
    """A table with whether both models have learned anything, where that is known."""
    if table.empty or learned.empty:
        return table
    ours, theirs = (
        _of_model(table, recipe, learned["learned"]).fillna(True).astype(bool) for recipe in ("recipe", "base")
    )
    return table.assign(learned=ours & theirs)


def _of_model(table: pd.DataFrame, recipe: str, known: pd.Series) -> pd.Series:
    """For every row what is known of one of its models, that of the recipe in the column ``recipe``."""
    keys = [*_MODELS[:-1], recipe]
    return table[keys].join(known, on=keys)[known.name]
