"""The tables of made-up results whose answers are known, and what they say of claims."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from regex_lib.cli import app
from regex_lib.errors import UserError
from regex_lib.study import Store, Task, Verdict, collect, export, reports, verdict, verdicts
from regex_lib.study.reports import COMPARABLE
from regex_lib.study.tasks import Job

SEEDS, EXAMPLES, NOISE = (0, 1, 2), range(12), 0.02
ATTRIBUTIONS = ("random", "attention", "deep_lift")


def cells(*intervals):
    table = pd.DataFrame(intervals, columns=["low", "high"])
    return table.assign(difference=table.mean(axis=1))


PRO, CONTRA, UNDECIDED, UNKNOWN = (0.1, 0.3), (-0.3, -0.1), (-0.1, 0.3), (np.nan, np.nan)


@pytest.mark.parametrize(
    ("intervals", "word"),
    [
        ([PRO, PRO, UNDECIDED], "supports"),
        ([PRO, UNDECIDED], "leaves open"),  # half is not most
        ([PRO, PRO, PRO, CONTRA], "leaves open"),
        ([PRO, UNKNOWN], "leaves open"),
        ([CONTRA, CONTRA, UNDECIDED], "contradicts"),
        ([CONTRA, CONTRA, CONTRA, PRO], "leaves open"),
        ([CONTRA, UNDECIDED], "leaves open"),
        ([UNDECIDED], "leaves open"),
        ([(0.0, 0.1)], "leaves open"),  # the whole interval must be above
        ([], "leaves open"),
    ],
)
def test_one_rule_for_all_verdicts(intervals, word):
    assert verdict("it helps", cells(*intervals)).word == word


def test_a_margin_moves_the_line():
    near = cells((-0.02, 0.1))
    assert verdict("it is no worse", near).pro == 0
    assert verdict("it is no worse", near, margin=0.03) == Verdict("it is no worse", cells=1, above=1, pro=1, contra=0)
    assert verdict("it is no worse", cells((-0.2, -0.04)), margin=0.03).contra == 1


def test_one_seed_and_two_settle_nothing():
    found = verdict("it helps", cells(PRO, PRO, CONTRA).assign(seeds=[2, 3, 1]))
    assert (found.cells, found.above, found.pro, found.contra) == (1, 1, 1, 0)
    assert found.left_out == {"of fewer than 3 seeds": 2}
    assert str(verdict("it helps", cells(PRO).assign(seeds=2))) == (
        "This leaves open the claim that it helps: no cell counts. Left out: 1 of fewer than 3 seeds."
    )


def test_where_nothing_differs_nothing_can_be_better_but_all_is_comparable():
    same = cells(PRO, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    found = verdict("it helps", same)
    assert (found.word, found.cells, found.left_out) == ("supports", 1, {"without any difference": 3})
    found = verdict("it is no worse", same, margin=0.03)
    assert (found.word, found.pro, found.left_out) == ("supports", 4, {})


def test_a_model_that_has_learned_nothing_has_nothing_to_explain():
    found = verdict("it helps", cells(PRO, CONTRA, CONTRA).assign(learned=[True, False, False], seeds=[3, 3, 2]))
    assert found.word == "supports"
    assert found.left_out == {"of fewer than 3 seeds": 1, "of models that have learned nothing": 1}  # each once
    assert str(found).endswith("Left out: 1 of fewer than 3 seeds; 1 of models that have learned nothing.")


def test_a_verdict_is_a_sentence_with_its_numbers():
    assert str(verdict("it helps", cells(PRO, PRO, UNDECIDED))) == (
        "This supports the claim that it helps: of 3 cells, 2 are for it, 0 against it and 1 undecided; "
        "the estimate is on its side in 3."
    )


LEVELS = {"vanilla": 0.4, "regex": 0.6, "regex_random_mask": 0.6}
"""What a recipe's attributions have on average; all recipes' random attribution has .3."""


def level(recipe, attribution):
    return 0.3 if attribution == "random" else LEVELS[recipe]


class Results:
    """A store to which results can be added as if they were measured."""

    def __init__(self, folder):
        self.store, self.jobs = Store(folder), []
        self.random = np.random.default_rng(0)

    def add(self, kind, recipe, seed, rows, **names):
        labels = {"data": names.pop("data", "sst"), "model": "minilm", "recipe": recipe, "seed": seed}
        names = {"kind": kind, "on": "sst", "split": "test"} | names if kind != "train" else {}
        task = Task(kind, labels | names, labels | names, {})
        self.store.write(task, pd.DataFrame(rows), {"device": "cpu", "threads": 1})
        self.jobs.append(Job((task,)))

    def noise(self):
        return NOISE * self.random.normal()

    def explained(self, columns, per_example=True):
        """Rows for every attribution: a column's value from the attribution's name, with noise."""
        return [
            {"attribution": attribution}
            | ({"example": example} if per_example else {})
            | {name: value(attribution) + self.noise() for name, value in columns.items()}
            for attribution in ATTRIBUTIONS
            for example in (EXAMPLES if per_example else [0])
        ]

    @property
    def rows(self):
        return collect(self.jobs, self.store)


@pytest.fixture
def results(tmp_path):
    found = Results(tmp_path / "store")
    for recipe in LEVELS:
        for seed in SEEDS:
            cost = 40.0 if recipe == "vanilla" else 100.0
            row = {"seconds": cost * (1 + seed), "memory_mib": 2 * cost, "train_texts": 9}
            found.add("train", recipe, seed, [row])
            quality = [{"example": row, "label": row % 2, "accuracy": float(row > 0), "ece": 0.05} for row in range(10)]
            found.add("quality", recipe, seed, quality)
            found.add("quality", recipe, seed, [row | {"accuracy": 0.5} for row in quality], split="validation")

            def score(attribution, recipe=recipe):
                return level(recipe, attribution)

            erased = found.explained({"sufficiency": score, "comprehensiveness": score})
            found.add("faithfulness", recipe, seed, erased, replacement="mask", level="token")
            word = found.explained({"naopc_sufficiency": lambda attribution: 0.5})
            found.add("faithfulness", recipe, seed, word, replacement="mask", level="word")
            for on, gain in (("sst", 0.0), ("imdb", -2.0)):  # out of domain, it is the other way round

                def elsewhere(attribution, gain=gain, score=score):
                    return score(attribution) * (1 + gain)

                rows = [{"example": row, "accuracy": 1.0, "macro_f1": 0.9} for row in range(5)]
                rows += found.explained({"sufficiency": elsewhere})
                found.add("transfer", recipe, seed, rows, on=on, max_texts=5)
    return found


def test_faithfulness_beside_random_and_beside_quality(results):
    made = reports(results.rows)
    table = made["1_faithfulness"].table.set_index(["metric", "recipe", "attribution"])
    assert len(table) == 3 * 2 * 3
    found = table.loc[("sufficiency", "regex", "attention")]
    assert found["mean"] == pytest.approx(0.6, abs=NOISE)
    assert found["base_mean"] == pytest.approx(0.4, abs=NOISE)
    assert found["difference"] == pytest.approx(found["mean"] - found["base_mean"], abs=1e-3)
    assert found["difference_over_random"] == pytest.approx(0.2, abs=2 * NOISE)
    assert found["low_over_random"] < found["difference_over_random"] < found["high_over_random"]
    assert found[["accuracy", "base_accuracy", "ece"]].tolist() == [0.9, 0.9, 0.05]  # of test, not of validation
    assert np.isnan(table.loc[("sufficiency", "regex", "random"), "difference_over_random"])
    words = {one.claim: (one.word, one.cells) for one in made["1_faithfulness"].verdicts}
    assert words == {
        "regex makes explanations more faithful than vanilla does": ("supports", 4),
        "regex does so beyond what it does to a random attribution": ("supports", 4),
        "regex makes explanations more faithful than vanilla does, in NAOPC": ("leaves open", 2),
        "regex does so beyond what it does to a random attribution, in NAOPC": ("leaves open", 2),
        "regex makes explanations more faithful than its control regex_random_mask does": ("leaves open", 4),
        f"regex costs less than {COMPARABLE} of accuracy": ("supports", 1),
    }


def test_both_means_are_of_the_seeds_and_examples_that_are_compared(results):
    for seed, level_of_seed in ((3, 5.0), (4, 7.0)):  # of the base alone
        found = results.explained({"sufficiency": lambda attribution, at=level_of_seed: at})
        results.add("faithfulness", "vanilla", seed, found, replacement="mask", level="token")
        quality = [{"example": row, "label": row % 2, "accuracy": 0.0, "ece": 0.5} for row in range(10)]
        results.add("quality", "vanilla", seed, quality)
    table = reports(results.rows)["1_faithfulness"].table
    np.testing.assert_allclose(table["mean"] - table["base_mean"], table["difference"], atol=2e-4)
    np.testing.assert_allclose(table["base_accuracy"], 0.9, atol=1e-4)


def test_models_no_better_than_the_most_frequent_class_are_left_out(results):
    for seed in SEEDS:  # of another data set, on which the base says one class to all texts
        for recipe, right in (("vanilla", 7), ("regex", 9)):
            rows = [{"example": row, "label": int(row < 7), "accuracy": float(row < right)} for row in range(10)]
            results.add("quality", recipe, seed, rows, data="yelp", on="yelp")
            results.add(
                "quality",
                recipe,
                seed,
                [row | {"label": 0} for row in rows],
                data="yelp",
                on="yelp",
                split="validation",
            )
            found = results.explained({"sufficiency": lambda attribution: 0.5})
            names = {"data": "yelp", "on": "yelp", "replacement": "mask", "level": "token"}
            results.add("faithfulness", recipe, seed, found, **names)
    report = reports(results.rows)["1_faithfulness"]
    columns = ["base_balanced_accuracy", "balanced_accuracy", "learned"]
    learned = report.table[report.table["recipe"] == "regex"].groupby("on")[columns].first()
    assert learned.loc["yelp"].tolist() == [0.5, pytest.approx((1 + 2 / 3) / 2, abs=1e-4), False]
    assert learned.loc["sst"].tolist() == [0.9, 0.9, True]
    nothing = "of models that have learned nothing"
    found = {one.claim: (one.word, one.cells, one.left_out) for one in report.verdicts}
    assert found["regex makes explanations more faithful than vanilla does"] == ("supports", 4, {nothing: 2})
    assert found[f"regex costs less than {COMPARABLE} of accuracy"] == ("supports", 1, {nothing: 1})


@pytest.mark.parametrize(
    ("right", "learned"),
    [
        ([60, 15, 60, 15, 60, 15], True),  # less often right than who always says 1, but better for both classes
        ([60, 15, 60, 15, 80, 0], False),  # one of three models has one answer
        ([40, 10, 40, 10, 40, 10], False),  # guesses
        ([44, 11, 60, 15, 60, 15], False),  # too little above that to tell
    ],
)
def test_a_recipe_has_learned_if_each_of_its_models_has(tmp_path, right, learned):
    results = Results(tmp_path / "store")
    for seed, (first, second) in enumerate(zip(right[::2], right[1::2], strict=True)):  # of 80 and 20 texts
        answers = [1.0] * first + [0.0] * (80 - first) + [1.0] * second + [0.0] * (20 - second)
        rows = [{"example": row, "label": int(row < 80), "accuracy": answer} for row, answer in enumerate(answers)]
        results.add("quality", "regex", seed, rows)
        results.add("quality", "vanilla", seed, [row | {"accuracy": 1.0} for row in rows])
        for recipe in ("vanilla", "regex"):
            found = results.explained({"sufficiency": lambda attribution: 0.5})
            results.add("faithfulness", recipe, seed, found, replacement="mask", level="token")
    table = reports(results.rows)["1_faithfulness"].table
    assert table["learned"].unique().tolist() == [learned]


def test_controls_that_have_learned_nothing_count_no_more_than_others(results):
    nothing = [{"example": row, "label": row % 2, "accuracy": float(row % 2)} for row in range(100)]
    for seed in SEEDS:
        results.add("quality", "regex_shuffled_target", seed, nothing)
        found = results.explained(
            {"sufficiency": lambda attribution: 0.1, "comprehensiveness": lambda attribution: 0.1}
        )
        results.add("faithfulness", "regex_shuffled_target", seed, found, replacement="mask", level="token")
    found = {one.claim: one for one in reports(results.rows)["1_faithfulness"].verdicts}
    claim = "regex makes explanations more faithful than its control {} does"
    assert found[claim.format("regex_shuffled_target")].left_out == {"of models that have learned nothing": 4}
    assert found[claim.format("regex_random_mask")].cells == 4


def test_leave_one_out_tau_is_asked_of_attributions_with_a_sign_alone(tmp_path):
    results = Results(tmp_path / "store")
    names = ("random", "attention", "attention_rollout", "gradient_norm", "leave_one_out", "scaled_attention", "mine")
    for recipe, gain in (("vanilla", 0.0), ("regex", 0.2)):
        for seed in SEEDS:
            rows = [
                {"attribution": name, "example": example, "loo_tau": 0.3 + gain + results.noise(), "sufficiency": 0.5}
                for name in names
                for example in EXAMPLES
            ]
            results.add("faithfulness", recipe, seed, rows, replacement="mask", level="token")
    found = {one.claim: one.cells for one in reports(results.rows)["1_faithfulness"].verdicts}
    assert found["regex makes explanations more faithful than vanilla does, in leave-one-out tau"] == 2


def test_models_of_the_next_seed_are_in_two_pairs(tmp_path):
    results = Results(tmp_path / "store")
    for seed, level in zip(SEEDS, (0.4, 0.5, 0.6), strict=True):
        for recipe, gain in (("vanilla", 0.0), ("regex", level)):
            for against in ("other_seed", "pretrained"):
                found = results.explained({"jaccard": lambda attribution, gain=gain: 0.2 + gain})
                results.add("randomisation", recipe, seed, found, against=against)
    table = reports(results.rows)["3_randomisation"].table.set_index(["attribution", "against"])
    width = (table["high"] - table["low"]).unstack()
    np.testing.assert_allclose(width["other_seed"] / width["pretrained"], 2.0, rtol=0.15)


def test_scores_that_are_not_normalised_have_claims_of_their_own(results):
    for recipe, gain in (("vanilla", 0.0), ("regex", -0.2)):
        for seed in SEEDS:
            for metric in ("eraser_comprehensiveness", "loo_tau"):
                found = results.explained(
                    {metric: lambda attribution, gain=gain: 0.5 + gain * (attribution != "random")}
                )
                found += [row | {"attribution": "leave_one_out"} for row in found if row["attribution"] == "attention"]
                results.add("faithfulness", recipe, seed, found, replacement="mask", level=metric)
    report = reports(results.rows)["1_faithfulness"]
    found = {one.claim: (one.word, one.cells) for one in report.verdicts if "raw" in one.claim or "tau" in one.claim}
    assert found == {
        "regex makes explanations more faithful than vanilla does, in raw comprehensiveness": ("contradicts", 3),
        "regex does so beyond what it does to a random attribution, in raw comprehensiveness": ("contradicts", 3),
        "regex makes explanations more faithful than vanilla does, in leave-one-out tau": ("contradicts", 1),
        "regex does so beyond what it does to a random attribution, in leave-one-out tau": ("contradicts", 1),
    }
    assert set(report.table["metric"]) == {"sufficiency", "comprehensiveness", "naopc_sufficiency"}


def test_only_other_data_sets_are_out_of_domain(results):
    report = reports(results.rows)["2_out_of_domain"]
    assert set(report.table["on"]) == {"sst", "imdb"}
    assert report.table["macro_f1"].tolist() == pytest.approx([0.9] * len(report.table))
    first, over_random, _ = report.verdicts
    assert (first.word, first.cells, over_random.word) == ("contradicts", 2, "contradicts")


def test_a_model_that_is_measured_twice_counts_once(tmp_path):
    found, right = Results(tmp_path / "store"), 29  # of 50 texts of a class: with twice as many, that is above chance
    for recipe in ("vanilla", "regex"):
        for seed in SEEDS:
            for replacement in ("mask", "pad"):
                rows = [
                    {"example": row, "label": row % 2, "accuracy": float(row < 2 * right), "macro_f1": 0.58}
                    for row in range(100)
                ]
                rows += found.explained({"sufficiency": lambda attribution, recipe=recipe: level(recipe, attribution)})
                found.add("transfer", recipe, seed, rows, on="imdb", replacement=replacement)
    report = reports(found.rows)["2_out_of_domain"]
    assert not report.table["learned"].any()
    *_, f1 = report.verdicts
    assert f1.cells + sum(f1.left_out.values()) == 1


@pytest.mark.parametrize(("with_other_seed", "untrained", "words"), [
    (0.2, -0.2, ["supports", "supports"]),
    (0.2, 0.2, ["supports", "contradicts"]),
    (-0.2, 0.0, ["contradicts", "leaves open"]),
])  # fmt: skip
def test_agreement_is_good_with_another_seed_and_bad_without_training(results, with_other_seed, untrained, words):
    for recipe in ("vanilla", "regex"):
        for seed in SEEDS:
            gain = 1.0 if recipe == "regex" else 0.0
            rows = []
            changes = {"other_seed": with_other_seed, "random head": 0.4}
            for against, change in (changes | dict.fromkeys(["pretrained", "random weights"], untrained)).items():

                def agreement(attribution, change=change, gain=gain):
                    return 0.5 + gain * change

                rows += [row | {"against": against} for row in results.explained({"jaccard": agreement})]
            results.add("randomisation", recipe, seed, rows)
    report = reports(results.rows)["3_randomisation"]
    assert [one.word for one in report.verdicts] == words
    assert [one.cells for one in report.verdicts] == [2, 4]  # two attributions; two kinds of untrained models
    assert set(report.table["attribution"]) == {"attention", "deep_lift"}
    assert set(report.table.loc[report.table["better"] == "higher", "against"]) == {"other_seed"}


@pytest.mark.parametrize(("behind", "word"), [(0.01, "supports"), (0.3, "contradicts")])
def test_rationales_are_held_against_the_full_text(results, behind, word):
    for recipe in ("vanilla", "regex"):
        for seed in SEEDS:
            rows = results.explained({"macro_f1": lambda attribution: 0.8 - behind}, per_example=False)
            for row in rows:
                row["macro_f1"] = 0.8 - behind + 0.1 * (row["macro_f1"] - 0.8 + behind)
            results.add("rationales", recipe, seed, [row | {"full_text_macro_f1": 0.8} for row in rows])
    report = reports(results.rows)["4_rationales"]
    full_text, base = report.verdicts
    assert (full_text.word, full_text.cells, base.word) == (word, 2, "leaves open")
    assert set(report.table["recipe"]) == {"vanilla", "regex"}
    np.testing.assert_allclose(
        report.table["difference"], report.table["macro_f1"] - report.table["full_text_macro_f1"], atol=2e-4
    )


def test_shortcuts_say_how_many_models_use_them(results):
    for recipe, share in (("vanilla", 1.0), ("regex", 2 / 3)):
        for seed in SEEDS:
            used = seed < 3 * share
            found = results.explained({"precision": lambda attribution: 0.5}, per_example=False)
            rows = [row | {"verified": float(used), "precision": row["precision"] if used else np.nan} for row in found]
            results.add("shortcuts", recipe, seed, rows, shortcut="single_token")
    report = reports(results.rows)["5_shortcuts"]
    assert report.table["verified"].tolist() == [pytest.approx(2 / 3, abs=1e-4)] * 3
    assert set(report.table["seeds"]) == {2}
    assert report.verdicts[0].left_out == {"of fewer than 3 seeds": 2}


def test_shortcuts_are_told_for_each_cell(results):
    for recipe in ("vanilla", "regex"):
        for seed in SEEDS:
            for shortcut, used in (("single_token", 1.0), ("ordered_pair", float(seed == 0))):
                found = results.explained({"precision": lambda attribution: 0.5}, per_example=False)
                results.add("shortcuts", recipe, seed, [row | {"verified": used} for row in found], shortcut=shortcut)
    table = reports(results.rows)["5_shortcuts"].table
    expected = table["shortcut"].map({"single_token": 1.0, "ordered_pair": 1 / 3})
    np.testing.assert_allclose(table["verified"], expected, atol=1e-4)
    assert set(table["shortcut"]) == {"single_token", "ordered_pair"}


def test_a_measurement_that_the_base_lacks_changes_no_other(results):
    before = reports(results.rows)["1_faithfulness"]
    for seed in SEEDS:
        rows = results.explained({"sufficiency": lambda attribution: 0.9})
        results.add("faithfulness", "regex", seed, rows, replacement="mask", level="token", max_length=64)
    after = reports(results.rows)["1_faithfulness"]
    pd.testing.assert_frame_equal(after.table, before.table)
    assert after.verdicts == before.verdicts


def test_costs_are_multiples_of_the_same_seeds(results):
    table = reports(results.rows)["6_cost"].table.set_index("recipe")
    assert table.loc["regex", ["seconds", "times", "times_memory", "seeds"]].tolist() == [200.0, 2.5, 2.5, 3]
    assert table.loc["vanilla", "times"] == 1.0


def test_what_is_not_measured_has_no_table(results):
    made = reports(results.rows)
    assert list(made) == ["1_faithfulness", "2_out_of_domain", "6_cost"]
    assert reports(results.rows, method="egt")["1_faithfulness"].verdicts == []
    only_training = results.rows[results.rows["kind"] == "train"]
    with pytest.raises(UserError, match="nothing is measured"):
        reports(only_training)


def test_the_command_writes_all_tables_and_says_what_they_say(results, tmp_path):
    export(results.jobs, results.store, tmp_path / "all.parquet")
    command = ["study", "table", str(tmp_path / "all.parquet"), "--output", str(tmp_path / "tables")]
    ended = CliRunner().invoke(app, command, catch_exceptions=False)
    assert ended.exit_code == 0
    told = " ".join(ended.output.split())
    made = reports(results.rows)
    for sentence in verdicts(made)["sentence"]:
        assert sentence in told
    names = {path.stem for path in (tmp_path / "tables").iterdir()}
    assert names == {"means", "differences", "costs", "verdicts", *(f"table_{name}" for name in made)}
    for name, report in made.items():
        assert len(pd.read_csv(tmp_path / "tables" / f"table_{name}.csv")) == len(report.table)


def run(*command):
    return CliRunner().invoke(app, ["study", *map(str, command)])


@pytest.fixture
def exported(results, tmp_path):
    path = tmp_path / "all.parquet"
    export(results.jobs, results.store, path)
    return path


def test_one_recipe_has_the_tables_that_need_no_other(exported, tmp_path):
    command = ["table", exported, "--only", "recipe=vanilla", "--output", tmp_path / "tables"]
    ended = run(*command)
    assert ended.exit_code == 0
    assert "no other recipe is measured where 'vanilla' is" in ended.output
    names = {path.stem for path in (tmp_path / "tables").iterdir()}
    assert names == {"means", "costs", "verdicts", "table_6_cost"}
    assert len(pd.read_csv(tmp_path / "tables" / "costs.csv")) == len(SEEDS)
    with pytest.raises(UserError, match="no other recipe is measured where 'vanilla' is"):
        raise run("table", exported, "--only", "recipe=vanilla").exception
    with pytest.raises(UserError, match="nothing is measured yet of: vanila"):
        raise run(*command, "--base", "vanila").exception


def test_a_base_without_a_common_cell_costs_no_other_table(results, tmp_path):
    found = results.explained({"jaccard": lambda attribution: 0.5})
    for seed in SEEDS:  # of a recipe that nothing else is measured of
        results.add("randomisation", "egt", seed, found, against="other_seed")
    path = tmp_path / "all.parquet"
    export(results.jobs, results.store, path)
    command = ["table", path, "--base", "egt", "--base", "vanilla"]
    for more in ([], ["--output", tmp_path / "tables"]):
        ended = run(*command, *more)
        assert ended.exit_code == 0, ended.exception
        assert "no other recipe is measured where 'egt' is" in ended.output
    assert set(pd.read_csv(tmp_path / "tables" / "differences.csv")["base"]) == {"vanilla"}
    ended = run("table", path, "--only", "recipe=egt,vanilla", "--only", "kind=randomisation,quality",
                "--output", tmp_path / "alone")  # fmt: skip
    assert ended.exit_code == 0, ended.exception
    assert (tmp_path / "alone" / "means.csv").exists()
    assert not (tmp_path / "alone" / "differences.csv").exists()


def test_a_part_without_trainings_has_tables_all_the_same(results, tmp_path):
    rows = results.rows
    made = reports(rows[rows["kind"] != "train"])
    assert "1_faithfulness" in made
    assert "6_cost" not in made


def test_a_part_of_an_export_keeps_the_trainings(exported, tmp_path):
    for part, kinds in (("kind=quality", {"quality"}), (" kind = quality , transfer ", {"quality", "transfer"})):
        assert run("table", exported, "--only", part, "--output", tmp_path / "part").exit_code == 0
        assert set(pd.read_csv(tmp_path / "part" / "means.csv")["kind"]) == kinds
        assert len(pd.read_csv(tmp_path / "part" / "costs.csv")) == len(LEVELS) * len(SEEDS)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["table", "--only", "recipe=regexx"], "unknown value of recipe 'regexx': did you mean 'regex'"),
        (["table", "--only", "threads=99"], "unknown value of threads '99': Known: 1"),
        (["table", "--only", "recipes=regex"], "--only must be KEY=VALUE, with a key of .*recipe"),
        (["table", "--method", "regx"], "unknown recipe 'regx': did you mean 'regex'"),
        (["figure", "--metrics", "suficiency", "--output", "no.png"], "unknown metric 'suficiency': did you mean"),
    ],
)
def test_a_misspelt_name_is_told(exported, command, message):
    with pytest.raises(UserError, match=message):
        raise run(command[0], exported, *command[1:]).exception


def test_a_figure_of_several_metrics(exported, tmp_path):
    for metrics, kind in (("sufficiency, comprehensiveness", "faithfulness"), ("accuracy", "quality")):
        command = ["figure", exported, "--metrics", metrics, "--only", f"kind={kind}"]
        ended = run(*command, "--output", tmp_path / "figure.svg")
        assert ended.exit_code == 0, ended.exception
        assert (tmp_path / "figure.svg").stat().st_size


def test_the_command_tells_a_base_that_is_not_measured_yet(results, tmp_path):
    export(results.jobs, results.store, tmp_path / "all.parquet")
    command = ["study", "table", str(tmp_path / "all.parquet"), "--base", "vanilla", "--base", "egt"]
    ended = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "tables")], catch_exceptions=False)
    assert ended.exit_code == 0
    assert "not measured yet: egt" in ended.output
    assert set(pd.read_csv(tmp_path / "tables" / "differences.csv")["base"]) == {"vanilla"}
