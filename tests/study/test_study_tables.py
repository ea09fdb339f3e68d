"""Tables and figures against numbers computed with plain loops."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score

from regex_lib.errors import UserError
from regex_lib.metrics import macro_f1_terms, paired_bootstrap
from regex_lib.study import (
    Store,
    Task,
    collect,
    costs,
    coverage,
    differences,
    differences_figure,
    export,
    means,
    read_export,
    scores,
)
from regex_lib.study.tasks import Job

RECIPES, SEEDS, ATTRIBUTIONS, EXAMPLES = ("vanilla", "regex", "igr"), (0, 1, 2), ("random", "attention"), (4, 7, 9, 12)
METRICS = ("sufficiency", "loo_tau")


def score(recipe, seed, attribution, example, metric):
    """Any number, the same for the same names; one is undefined."""
    if (recipe, seed, attribution, example, metric) == ("regex", 1, "attention", 7, "loo_tau"):
        return np.nan
    names = (RECIPES.index(recipe), seed, ATTRIBUTIONS.index(attribution), example, METRICS.index(metric))
    return float(np.float32(np.random.default_rng(names).normal()))


def job_of(store, recipe, seed):
    """A training, what is made up of its quality and its faithfulness, and a measurement that is not finished."""
    labels = {"data": "sst", "model": "minilm", "recipe": recipe, "seed": seed}
    training = Task("train", {"recipe": recipe, "seed": seed}, labels, {})
    provenance = {"device": "cpu", "threads": 2, "date": f"2026-01-0{1 + seed}T12:00:00+00:00", "commit": "abc1234"}
    store.write(training, pd.DataFrame({"seconds": [10.0 + seed], "memory_mib": [100.0]}), provenance)
    quality = Task("quality", {}, labels | {"kind": "quality", "on": "sst"}, {}, (training,))
    rows = {"example": range(3), "label": [0, 1, 1], "prediction": [1, 1, 1], "probability": [0.9, 0.8, 0.7]}
    store.write(quality, pd.DataFrame(rows | {"accuracy": [0.0, 1.0, seed / 2], "ece": 0.1}), provenance)
    names = {"kind": "faithfulness", "on": "sst", "replacement": "mask", "max_examples": 4}
    faithful = Task("faithfulness", {}, labels | names, {}, (training,))
    rows = [
        {"example": example, "attribution": attribution, "truncated": False, "label": 1}
        | {metric: score(recipe, seed, attribution, example, metric) for metric in METRICS}
        for attribution, example in itertools.product(ATTRIBUTIONS, EXAMPLES)
    ]
    store.write(faithful, pd.DataFrame(rows), provenance)
    return Job((training, quality, faithful, Task("faithfulness", {"level": "word"}, labels, {}, (training,))))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def jobs(store):
    """Of every recipe and seed, but for igr's last seed."""
    pairs = [(recipe, seed) for seed, recipe in itertools.product(SEEDS, RECIPES) if (recipe, seed) != ("igr", 2)]
    return [job_of(store, recipe, seed) for recipe, seed in pairs]


def test_means_are_over_seeds_and_examples(jobs, store):
    table = means(scores(collect(jobs, store)))
    cells = table[table["kind"] == "faithfulness"].set_index(["recipe", "attribution", "metric"])
    for recipe, attribution, metric in itertools.product(RECIPES, ATTRIBUTIONS, METRICS):
        seeds = SEEDS[:2] if recipe == "igr" else SEEDS
        grid = np.array([[score(recipe, seed, attribution, row, metric) for row in EXAMPLES] for seed in seeds])
        found = cells.loc[(recipe, attribution, metric)]
        assert found["mean"] == pytest.approx(np.nanmean(grid), abs=1e-4)
        assert found["seed_sd"] == pytest.approx(np.nanmean(grid, axis=1).std(ddof=1), abs=1e-4)
        assert (found["seeds"], found["examples"], found["max_examples"]) == (len(seeds), 4, "4")
    quality = table[table["kind"] == "quality"].set_index(["recipe", "metric"])
    assert set(quality.index.levels[1]) == {"accuracy", "ece"}  # label, prediction and probability are no scores
    assert quality.loc[("vanilla", "accuracy"), "mean"] == pytest.approx(0.5)


@pytest.mark.parametrize("base", ["vanilla", "regex"])
def test_differences_are_paired_by_seed_and_example(jobs, store, base):
    table = differences(scores(collect(jobs, store)), base)
    assert set(table["base"]) == {base}
    assert set(table["recipe"]) == set(RECIPES) - {base}
    rows = table[table["kind"] == "faithfulness"].set_index(["recipe", "attribution", "metric", "minus"])
    assert len(rows) == 2 * 2 * (2 + 1)  # over random, there is no row for random itself
    for (recipe, attribution, metric, minus), found in rows.iterrows():
        seeds = SEEDS[:2] if "igr" in (recipe, base) else SEEDS

        def grid(name, attribution=attribution, metric=metric, minus=minus, seeds=seeds):
            def one(seed, row):
                random = score(name, seed, "random", row, metric) if minus else 0.0
                return score(name, seed, attribution, row, metric) - random

            return torch.tensor([[one(seed, row) for row in EXAMPLES] for seed in seeds])

        ours, theirs = grid(recipe), grid(base)
        expected = paired_bootstrap(ours, theirs)
        both = (ours - theirs).numpy()
        compared = ~np.isnan(both).any(axis=0)
        kept = both[:, compared]
        assert found["mean"] == pytest.approx(ours[:, compared].mean().item(), abs=1e-4)
        assert found["base_mean"] == pytest.approx(theirs[:, compared].mean().item(), abs=1e-4)
        assert found["p_value"] == pytest.approx(expected.p_value, abs=1e-4)
        assert found["difference"] == pytest.approx(kept.mean(), abs=1e-4)
        assert found["low"] == pytest.approx(expected.low, abs=2e-4)
        assert found["high"] == pytest.approx(expected.high, abs=2e-4)
        assert (found["seeds"], found["examples"]) == kept.shape
        assert found["seeds_above"] == (kept.mean(axis=1) > 0).sum()


def test_a_seed_that_only_the_random_attribution_has_is_not_compared(jobs, store):
    table = scores(collect(jobs, store)).query("metric == 'sufficiency' and recipe in ['vanilla', 'regex']")
    of_last = (table["attribution"] == "attention") & (table["seed"] == SEEDS[-1])
    compared = differences(table[~of_last], "vanilla").query("attribution == 'attention'").set_index("minus")
    assert compared["seeds"].to_dict() == {"": 2, "random": 2}
    assert compared["examples"].to_dict() == {"": 4, "random": 4}
    assert compared["difference"].notna().all()


def test_names_may_be_plain_text(jobs, store):
    rows = collect(jobs, store)  # as they are where two exports are joined
    joined = rows.assign(recipe=rows["recipe"].astype("str"), replacement=rows["replacement"].astype("str"))
    names = ["kind", "recipe", "attribution", "metric"]
    plain, expected = (means(scores(part)).astype({"recipe": str}).sort_values(names) for part in (joined, rows))
    pd.testing.assert_frame_equal(plain, expected, check_categorical=False)


def test_small_scores_keep_four_digits(jobs, store):
    table = scores(collect(jobs, store)).query("metric == 'sufficiency'")
    small = differences(table.assign(value=1e-6 * table["value"]), "vanilla")
    usual = differences(table, "vanilla")
    for name in ("mean", "base_mean", "difference", "low", "high"):
        assert small[name].to_numpy() == pytest.approx(1e-6 * usual[name].to_numpy(), abs=1e-10)
    assert small["p_value"].equals(usual["p_value"])
    assert small["difference"].any()


def test_coverage_says_what_is_done_of_what_is_planned(jobs, store):
    waiting = Task("train", {"recipe": "late"}, {"data": "sst", "model": "minilm", "recipe": "late", "seed": 0}, {})
    table = coverage([*jobs, Job((waiting,))], store).set_index(["recipe", "kind", "replacement"])
    told = ["done", "planned", "seeds", "first", "last", "commits", "devices"]
    assert table.loc[("late", "train", ""), told].tolist() == [0, 1, "", "", "", "", ""]
    assert table.loc[("igr", "faithfulness", ""), told].tolist() == [0, 2, "", "", "", "", ""]  # of words: not finished
    for recipe, seeds, last in (("vanilla", "0 1 2", "2026-01-03"), ("igr", "0 1", "2026-01-02")):
        found = table.loc[(recipe, "faithfulness", "mask"), told].tolist()
        assert found == [len(seeds.split())] * 2 + [seeds, "2026-01-01", last, "abc1234", "cpu"]


def test_scores_that_two_measurements_share_count_once(jobs, store):
    shared = [job_of(store, "vanilla", 0), *jobs]
    pd.testing.assert_frame_equal(means(scores(collect(shared, store))), means(scores(collect(jobs, store))))


def test_costs_are_those_of_each_training(jobs, store):
    table = costs(collect(jobs, store))
    assert len(table) == 8
    assert table.columns.tolist() == ["data", "model", "recipe", "seed", "seconds", "memory_mib", "device", "threads"]
    assert (table["seconds"] == 10.0 + table["seed"]).all()


def test_tables_of_an_export_are_those_of_the_store(jobs, store, tmp_path):
    export(jobs, store, tmp_path / "all.parquet")
    rows = read_export(tmp_path / "all.parquet")
    assert set(rows.select_dtypes("float").dtypes) == {np.dtype("float32")}
    for expected, found in (
        (means(scores(collect(jobs, store))), means(scores(rows))),
        (differences(scores(collect(jobs, store)), "igr"), differences(scores(rows), "igr")),
        (costs(collect(jobs, store)), costs(rows)),
    ):
        pd.testing.assert_frame_equal(found, expected)


def test_what_cannot_be_told_is_said(jobs, store, tmp_path):
    with pytest.raises(UserError, match="nothing of this study is finished"):
        collect([], store)
    with pytest.raises(UserError, match="nothing is measured yet"):
        scores(collect([jobs[0].only(lambda task: task.kind == "train")], store))
    table = scores(collect(jobs, store))
    with pytest.raises(UserError, match="nothing is measured of the recipe 'egt' yet"):
        differences(table, "egt")
    with pytest.raises(UserError, match="no other recipe is measured where 'igr' is"):
        differences(table[table["recipe"] == "igr"], "igr")
    with pytest.raises(UserError, match="cannot write"):
        export(jobs, store, tmp_path / "missing" / "all.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="is not the export of a study"):
        read_export(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="cannot read"):
        read_export(tmp_path / "missing.parquet")


def test_the_figure_shows_every_difference_with_its_interval(jobs, store):
    table = differences(scores(collect(jobs, store)), "vanilla")
    figure = differences_figure(table, METRICS)
    assert [axis.get_xlabel() for axis in figure.axes] == [f"{metric}: minus vanilla" for metric in METRICS]
    for metric, axis in zip(METRICS, figure.axes, strict=True):
        rows = table[(table["metric"] == metric) & (table["minus"] == "")]
        shown = {container.get_label(): container for container in axis.containers}
        assert shown.keys() == {"regex", "igr"}
        for recipe, container in shown.items():
            ours = rows[rows["recipe"] == recipe]
            dots, _, (bars,) = container
            np.testing.assert_allclose(dots.get_xdata(orig=False), ours["difference"])
            ends = [[segment[0, 0], segment[1, 0]] for segment in bars.get_segments()]
            np.testing.assert_allclose(ends, ours[["low", "high"]].astype(float))
        assert [label.get_text() for label in axis.get_yticklabels()] in (["random", "attention"], ["", ""])
    (legend,) = figure.legends
    assert legend.get_title().get_text().startswith("sst minilm ")
    assert not figure.get_suptitle()
    over = differences_figure(table, ["sufficiency"], minus="random")
    assert over.axes[0].get_xlabel() == "sufficiency over random: minus vanilla"
    assert [label.get_text() for label in over.axes[0].get_yticklabels()] == ["attention"]
    with pytest.raises(UserError, match="no differences of ece, comprehensiveness"):
        differences_figure(table[table["metric"] != "ece"], ["ece", "comprehensiveness"])


def test_the_figure_writes_each_attribution_beside_its_dots(jobs, store):
    table = differences(scores(collect(jobs, store)), "vanilla").query("kind == 'faithfulness' and recipe == 'regex'")
    swapped = table["metric"].eq("loo_tau") & table["attribution"].eq("random")  # each metric lacks one attribution
    table = table[~swapped & ~(table["metric"].eq("sufficiency") & table["attribution"].eq("attention"))]
    figure = differences_figure(table.sort_values("metric"), METRICS)
    (names,) = {tuple(label.get_text() for label in axis.get_yticklabels()) for axis in figure.axes[:1]}
    assert set(names) == {"random", "attention"}
    for metric, axis in zip(METRICS, figure.axes, strict=True):
        (container,) = axis.containers
        dots = [names[round(place)] for place in container[0].get_ydata()]
        assert dots == ["random" if metric == "sufficiency" else "attention"]


def test_the_figure_has_panels_for_each_base(jobs, store):
    rows = scores(collect(jobs, store))
    table = pd.concat([differences(rows, base) for base in ("vanilla", "igr")], ignore_index=True)
    table.loc[table["base"] == "igr", "max_examples"] = np.nan  # as where the tables of bases differ in their columns
    figure = differences_figure(table, ["sufficiency"])
    assert [axis.get_xlabel() for axis in figure.axes] == [f"sufficiency: minus {base}" for base in ("vanilla", "igr")]
    drawn = [{container.get_label() for container in axis.containers if container[0].get_xdata().size}
             for axis in figure.axes]  # fmt: skip
    assert drawn == [{"regex", "igr"}, {"vanilla", "regex"}]


def test_the_figure_of_scores_without_attributions(jobs, store):
    table = differences(scores(collect(jobs, store)), "vanilla")
    (axis,) = differences_figure(table, ["accuracy"]).axes
    assert sum(len(container[0].get_xdata()) for container in axis.containers) == 2
    (alone,) = differences_figure(table[table["kind"] == "quality"].drop(columns="attribution"), ["accuracy"]).axes
    assert alone.get_xlabel() == axis.get_xlabel()


def test_the_interval_of_a_score_that_no_example_has_alone_knows_of_the_luck_of_the_examples(store):
    jobs, macro_f1 = [], {}
    for recipe, seed in itertools.product(("vanilla", "regex"), SEEDS):
        training = Task("train", {"recipe": recipe, "seed": seed}, {"recipe": recipe, "seed": seed}, {})
        quality = Task("quality", {}, training.labels | {"kind": "quality"}, {}, (training,))
        # One text in 40, the same for every seed, is right with regex and wrong with vanilla.
        label, prediction = np.arange(40) % 2, np.arange(40) % 2
        prediction[:8] = 0
        prediction[1] = recipe == "regex"
        macro_f1[recipe] = f1_score(label, prediction, average="macro")
        rows = {"example": range(40), "label": label, "prediction": prediction, "probability": 0.9}
        rows |= {"macro_f1": macro_f1[recipe], "ece": 0.0}
        store.write(training, pd.DataFrame({"seconds": [1.0]}), {"device": "cpu", "threads": 1})
        store.write(quality, pd.DataFrame(rows), {"device": "cpu", "threads": 1})
        jobs.append(Job((training, quality)))
    table = scores(collect(jobs, store))
    found = means(table).set_index(["recipe", "metric"])
    for recipe, expected in macro_f1.items():
        assert found.loc[(recipe, "macro_f1"), "mean"] == pytest.approx(expected, abs=1e-4)
    (row,) = differences(table, "vanilla").query("metric == 'macro_f1'").itertuples()
    assert row.difference == pytest.approx(macro_f1["regex"] - macro_f1["vanilla"], abs=1e-4)
    assert row.low < 0 < row.difference < row.high
    assert row.examples == 40


@pytest.mark.parametrize("all_classes", [True, False])
def test_the_interval_is_that_of_the_classes_which_the_score_is_a_mean_of(store, all_classes):
    """Of three classes the texts have two; `transfer` leaves the third out, all else counts it with 0."""
    jobs, labels = [], [0, 1, 2] if all_classes else [0, 1]
    expected = {}
    for recipe, seed in itertools.product(("vanilla", "regex"), SEEDS):
        training = Task("train", {"recipe": recipe, "seed": seed}, {"recipe": recipe, "seed": seed}, {})
        quality = Task("quality", {}, training.labels | {"kind": "quality"}, {}, (training,))
        label = torch.arange(60) % 2
        drawn = torch.rand(60, generator=torch.Generator().manual_seed(SEEDS.index(seed)))
        prediction = torch.where(drawn < (0.1 if recipe == "regex" else 0.3), 2 * (label == 0).long(), label)
        score = f1_score(label, prediction, labels=labels, average="macro", zero_division=0.0)
        rows = {"example": range(60), "label": label, "prediction": prediction, "probability": 0.9}
        store.write(training, pd.DataFrame({"seconds": [1.0]}), {"device": "cpu", "threads": 1})
        store.write(quality, pd.DataFrame(rows | {"macro_f1": score, "ece": 0.0}), {"device": "cpu", "threads": 1})
        expected[recipe, seed] = macro_f1_terms(label, prediction, len(labels))
        jobs.append(Job((training, quality)))
    interval = paired_bootstrap(*(
        torch.stack([expected[recipe, seed] for seed in SEEDS]) for recipe in ("regex", "vanilla")
    ))  # fmt: skip
    (row,) = differences(scores(collect(jobs, store)), "vanilla").query("metric == 'macro_f1'").itertuples()
    found = row.difference, row.low, row.high
    assert found == pytest.approx((interval.estimate, interval.low, interval.high), abs=1.1e-4)
