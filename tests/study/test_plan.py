"""The description of a study, and what its tasks are filed under."""

import inspect
from dataclasses import asdict

import pytest
from typer.testing import CliRunner

from regex_lib.cli import app
from regex_lib.errors import UserError
from regex_lib.evaluation import evaluate_faithfulness
from regex_lib.study import MEASUREMENTS, measurement, plan, read_study
from regex_lib.study.measurements import resolve_options
from regex_lib.study.tasks import digest
from regex_lib.training import Recipe

QUALITY = {"kind": "quality"}
FAITHFUL = {"kind": "faithfulness", "attributions": ["random", "attention"], "max_examples": 3}


def tasks(path):
    return [task for job in plan(read_study(path)) for task in job.tasks]


def hashes(path):
    return [task.hash for task in tasks(path)]


def test_a_job_for_each_model_with_what_is_measured_of_it(world):
    measures = [{"kind": "quality", "split": ["validation", "test"]}, FAITHFUL | {"replacement": ["mask", "pad"]}]
    jobs = plan(read_study(world.study(measures, recipes=["vanilla", "regex"], seeds=[0, 1])))
    assert [(job.tasks[0].labels["recipe"], job.tasks[0].labels["seed"]) for job in jobs] == [
        ("vanilla", 0), ("regex", 0), ("vanilla", 1), ("regex", 1),
    ]  # fmt: skip
    for job in jobs:
        training, *measured = job.tasks
        assert [task.kind for task in job.tasks] == ["train", "quality", "quality", "faithfulness", "faithfulness"]
        assert all(task.needs == (training,) for task in measured)
        assert [task.labels["split"] for task in measured] == ["validation", "test", "test", "test"]
        assert [task.config.get("replacement") for task in measured] == [None, None, "mask", "pad"]
    everything = [task.hash for job in jobs for task in job.tasks]
    assert len(set(everything)) == len(everything) == 20


def two_grids(world, measures, second='recipes = ["igr"]\nseeds = [1, 2]'):
    """A study of which one grid has vanilla with the seeds 0 and 1, and another what is given."""
    path = world.study(measures, recipes=["vanilla"], seeds=[0, 1])
    settings, first = path.read_text().split("[grid]\n")
    same = "\n".join(line for line in first.splitlines() if line.startswith(("data", "models")))
    path.write_text(f"{settings}[[grid]]\n{same}\n{second}\n[[grid]]\n{first}")
    return path


def test_a_study_of_several_grids_has_the_models_of_each(world):
    randomised = {"kind": "randomisation", "split": "test", "attributions": ["attention"]}
    path = two_grids(world, [QUALITY, randomised, QUALITY | {"split": "validation", "only": {"recipe": ["igr"]}}])
    jobs = plan(read_study(path))
    assert [(job.tasks[0].labels["recipe"], job.tasks[0].labels["seed"]) for job in jobs] == [
        ("igr", 1), ("vanilla", 1), ("igr", 2), ("vanilla", 0),
    ]  # fmt: skip
    for job in jobs:
        names = ["train", "quality", "randomisation"] + ["quality"] * (job.tasks[0].labels["recipe"] == "igr")
        assert [task.kind for task in job.tasks] == names
    for ours, theirs in (jobs[::2], jobs[1::2]):  # of its own grid is the other seed that a model is compared with
        assert ours.tasks[2].needs == (ours.tasks[0], theirs.tasks[0])
        assert theirs.tasks[2].needs == (theirs.tasks[0], ours.tasks[0])
    assert [task.hash for task in jobs[2].tasks[:2]] == hashes(world.study([QUALITY], recipes=["igr"], seeds=[2]))


def test_grids_share_no_model_and_have_the_seeds_that_a_measurement_needs(world):
    shared = two_grids(world, [QUALITY], second='recipes = ["igr", "vanilla"]\nseeds = [5]')
    with pytest.raises(UserError, match=r"two \[\[grid\]\] have a model in common, .*, vanilla: name all its seeds"):
        read_study(shared)
    randomised = {"kind": "randomisation", "split": "test", "attributions": ["attention"]}
    one_seed = 'recipes = ["igr"]\nseeds = [1]'
    with pytest.raises(UserError, match=r"compares models of 2 seeds, and \[grid\] has 1"):
        read_study(two_grids(world, [randomised], second=one_seed))
    of_the_other = randomised | {"only": {"recipe": ["vanilla"]}}
    assert len(tasks(two_grids(world, [of_the_other], second=one_seed))) == 2 * 2 + 1


def test_names_are_no_part_of_the_hash(world):
    plain = hashes(world.study([QUALITY], recipes=["regex"]))
    renamed = tasks(world.study([QUALITY], recipes=["mine"], extra='[recipes.mine]\nbase = "regex"'))
    assert [task.hash for task in renamed] == plain
    assert renamed[0].labels["recipe"] == "mine"
    moved = world.data.rename(world.folder / "elsewhere")
    assert hashes(world._replace(data=moved).study([QUALITY], recipes=["regex"])) == plain


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 2}, {"batch_size": 2}, {"learning_rate": 1e-3}, {"max_train": 4}, {"max_length": 8}, {"layers": 1},
        {"recipes": ["igr"]}, {"seeds": [1]}, {"extra": "[recipes.vanilla]\nigr_weight = 0.25"},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_changes_the_model_changes_every_hash(world, change):
    before = hashes(world.study([QUALITY, FAITHFUL]))
    assert not set(before) & set(hashes(world.study([QUALITY, FAITHFUL], **change)))


@pytest.mark.parametrize(
    "change",
    [
        {"max_examples": 4}, {"attributions": ["random"]}, {"metrics": ["sufficiency"]}, {"replacement": "mask"},
        {"level": "word"}, {"split": "validation"}, {"options": {"random": {"seed": 3}}}, {"max_length": 9},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_changes_a_measurement_changes_its_hash_only(world, change):
    training, before = hashes(world.study([FAITHFUL]))
    same, after = hashes(world.study([FAITHFUL | change]))
    assert (same, after != before) == (training, True)


def test_other_texts_are_other_tasks(world):
    training, measured = hashes(world.study([QUALITY]))
    test = world.data / "test.jsonl"
    test.write_text(test.read_text().replace("never", "ever"))  # in the folder that this process has read already
    assert hashes(world.study([QUALITY]))[0] == training
    assert hashes(world.study([QUALITY]))[1] != measured


def test_other_weights_are_another_model(world, make_tiny):
    before = hashes(world.study([]))
    classifier = make_tiny("bert", seed=1)
    for part in (classifier.model.base_model, classifier.tokenizer):
        part.save_pretrained(world.folder / "other")
    assert hashes(world._replace(model=world.folder / "other").study([])) != before


def test_whole_numbers_and_floats_are_the_same(world):
    assert hashes(world.study([], epochs=1, learning_rate=1)) == hashes(world.study([], epochs=1.0, learning_rate=1.0))
    weights = [f"[recipes.vanilla]\nigr_weight = {weight}" for weight in ("1", "1.0")]
    assert hashes(world.study([], extra=weights[0])) == hashes(world.study([], extra=weights[1]))


def test_models_are_measured_on_other_data(world):
    measure = {"kind": "quality", "on": ["reviews:films", str(world.data)], "split": "test"}
    assert [task.labels["on"] for task in tasks(world.study([measure]))[1:]] == ["reviews:films", str(world.data)]


def test_a_measure_can_be_for_some_models_only(world):
    igr_only = FAITHFUL | {"only": {"recipe": "igr", "seed": [1]}}
    path = world.study([QUALITY, igr_only], recipes=["vanilla", "igr"], seeds=[0, 1])
    measured = [task for task in tasks(path) if task.kind == "faithfulness"]
    assert [(task.labels["recipe"], task.labels["seed"]) for task in measured] == [("igr", 1)]


def with_steps(*attributions, n_steps, **others):
    options = {"integrated_gradients": {"n_steps": n_steps}}
    return FAITHFUL | {"attributions": list(attributions), "options": options} | others


@pytest.mark.parametrize(
    ("other", "keys"),
    [
        (with_steps("integrated_gradients", n_steps=1), "options"),
        (with_steps("random", "integrated_gradients", n_steps=1, only={"recipe": ["igr"]}), "options"),
        (with_steps("integrated_gradients", n_steps=1, metric_options={"sufficiency": {"aopc": "sum"}}),
         "options, metric_options"),
        (with_steps("integrated_gradients", n_steps=1, metrics=["loo_tau"]), None),
        (with_steps("random", "attention", n_steps=1), None),
        (with_steps("integrated_gradients", n_steps=1, level="word"), None),
        (with_steps("integrated_gradients", n_steps=1, max_examples=2), None),
        (with_steps("integrated_gradients", n_steps=1, on=["reviews:films"]), None),
        (with_steps("integrated_gradients", n_steps=20), None),
    ],
)  # fmt: skip
def test_measurements_that_tables_do_not_tell_apart_are_refused(world, other, keys):
    measure = with_steps("integrated_gradients", "random", n_steps=20, level=["token"])
    path = world.study([QUALITY, measure, other], recipes=["vanilla", "igr"])
    if keys is None:
        assert len(tasks(path)) > 4
        return
    message = rf"2 and 3 \(faithfulness\) differ only in {keys}, which tables do not tell apart: .* two studies"
    with pytest.raises(UserError, match=message):
        read_study(path)


@pytest.fixture
def own_measurements():
    before = dict(MEASUREMENTS)
    yield
    MEASUREMENTS.clear()
    MEASUREMENTS.update(before)


@pytest.mark.usefixtures("own_measurements")
def test_a_measurement_of_ones_own_needs_no_length(world):
    @measurement("layers")
    def layers(models, splits, *, split="test", depth=None):
        raise NotImplementedError

    path = world.study([{"kind": "layers", "depth": [1, "two"]}, QUALITY], max_length=8)
    _, own, quality = tasks(path)
    assert (own.config["depth"], "max_length" in own.config, quality.config["max_length"]) == ([1, "two"], False, 8)


@pytest.mark.usefixtures("own_measurements")
def test_a_measurement_of_ones_own_must_have_a_split_and_defaults():
    with pytest.raises(UserError, match="the measurement 'layers' must have an option 'split'"):
        measurement("layers")(lambda models, splits: None)
    with pytest.raises(UserError, match="the option 'depth' of the measurement 'layers' must have a default"):
        measurement("layers")(lambda models, splits, *, depth, split="test": None)


def test_results_are_found_again_by_these_hashes(world):
    """If this fails, what is finished in existing stores would be done again."""
    extra = '[recipes.strong]\nbase = "vanilla"\nigr_weight = 0.25'
    found = tasks(world.study([QUALITY, FAITHFUL], recipes=["vanilla", "strong"], extra=extra, layers=2))
    configs = [task.config | ({"model": ""} if task.kind == "train" else {}) for task in found]  # weights may differ
    assert [digest(config) for config in configs] == [
        "724e8e50d4ac9a3a8710e32a25d5f3d9",
        "e82757628c9f1b8a74153fd38918ff55",
        "4f4eec8283bdaf74f44f8e7e2fbbebd4",
        "c75163d2c066a67268f4e0ca882a7978",
        "e82757628c9f1b8a74153fd38918ff55",
        "4f4eec8283bdaf74f44f8e7e2fbbebd4",
    ]


def test_what_the_hashes_leave_out_means_what_it_meant():
    """A recipe is filed under what differs from these defaults. When one of them changes, raise FORMAT in tasks.py, so
    that older results are not taken for the new recipe's; a new option only has to be added here."""
    assert asdict(Recipe()) == {
        "cross_entropy_weight": 1.0,
        "igr_weight": 0.0, "igr_norm": "squared_l2", "igr_loss": "cross_entropy", "igr_estimator": "exact",
        "igr_step": 0.01,
        "vat_weight": 0.0, "vat_epsilon": 0.1, "vat_direction": "power_iteration", "vat_xi": 0.1,
        "vat_power_iterations": 1, "vat_norm": "l2", "vat_divergence": "kl",
        "smart_weight": 0.0, "smart_step": 0.001, "freelb_weight": 0.0, "freelb_epsilon": 0.02, "freelb_steps": 3,
        "robust_until": 1.0,
        "kl_weight": 0.0, "kl_inputs": "both", "kl_direction": "attention_to_attribution", "kl_normalise": "sum",
        "kl_temperature": 1.0, "kl_smoothing": 0.1,
        "saliency_guided_weight": 0.0, "masked_cross_entropy_weight": 0.0,
        "guidance_from": 0.5, "guidance_warmup": 0.0,
        "attribution": "integrated_gradients", "attribution_steps": 3, "attribution_noise": 0.0,
        "mask_ratio": 0.3, "masking": "mask", "selector": "lowest", "target": "attribution",
    }  # fmt: skip
    parameters = inspect.signature(evaluate_faithfulness).parameters
    assert {name: parameters[name].default for name in ("ratios", "aopc", "seed", "precision")} == {
        "ratios": (0.02, 0.1, 0.2, 0.5), "aopc": "mean", "seed": 0, "precision": "fp32",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[grid]", "[gird]"), "unknown table 'gird'"),
        (("epochs", "epoch"), "unknown option of \\[train\\] 'epoch'"),
        (('"vanilla"', '"vanila"'), "unknown recipe 'vanila': did you mean 'vanilla'"),
        (("seeds = [0]", "seeds = []"), "\\[grid\\] must name seeds"),
        (("seeds = [0]", "seeds = [0, 0]"), "names seeds twice"),
        (("seeds = [0]", "seeds = [0.5]"), "seeds of .grid. must be whole numbers, got .0.5."),
        (("[grid]", "[recipes.vanilla]\nigr_weight = '1'\n[grid]"), "igr_weight of the recipe 'vanilla' cannot be '1'"),
        (("[grid]", "[recipes.vanilla]\nigr_wait = 1\n[grid]"), "unknown recipe option 'igr_wait'"),
        (("epochs = 1", "epochs = 'one'"), "epochs of .train. cannot be 'one'"),
        (('"quality"', '"qualty"'), "unknown kind of measurement 'qualty': did you mean 'quality'"),
        (('kind = "quality"', ""), "must name its kind"),
        (('"quality"', '"quality"\nmax_example = 3'), "unknown option of quality 'max_example'"),
        (('"quality"', '"faithfulness"\nmetrics = ["suficiency"]'), "unknown metric 'suficiency'"),
        (('"quality"', '"faithfulness"\nattributions = ["attension"]'), "unknown attribution 'attension'"),
        (('"quality"', '"quality"\nonly = { recipes = "igr" }'), "unknown option of only 'recipes'"),
        (('"counted"', '"not_there"'), "cannot import the module 'not_there'"),
        (("[grid]", "[recipes.mine]\nbase = 'vanilla'\nigr_wait = 1\n[grid]\n"), None),
        (("[train]", "train"), "cannot read the study"),
        (("[train]", "[[train]]"), "train must be a table, got"),
        (("[[measure]]", "[measure]"), r"a list of tables is written in double brackets: \[\[measure\]\]"),
        (("[grid]", "[[grid]]\n[[grid]]"), r"\[grid\] must name data"),
        (('"quality"', '["quality"]'), "must name its kind"),
        (('"quality"', '"quality"\nsplit = []'), "split of quality names nothing"),
        (('"quality"', '"quality"\nsplit = ["test", 3]'), "split of quality cannot be 3"),
        (('"quality"', '"quality"\nmax_texts = "10"'), "max_texts of quality cannot be '10'"),
        (('"quality"', '"quality"\nmax_texts = true'), "max_texts of quality cannot be True"),
        (('"quality"', '"rationales"\nratio = [0.1, 0.2]'), r"ratio of rationales cannot be \[0.1, 0.2\]"),
        (('"quality"', '"rationales"\nattributions = "random"'), "attributions of rationales cannot be 'random'"),
        (('"quality"', '"rationales"\noptions = 3'), "options of rationales cannot be 3"),
        (('"quality"', '"counted"\nact = 3'), "act of counted cannot be 3"),
        (('"quality"', '"quality"\nonly = ["recipe"]'), r"only must be a table, got \['recipe'\]"),
        (('"quality"', '"quality"\nonly = { recipe = ["vanila"] }'), "unknown recipe 'vanila': did you mean 'vanilla'"),
        (('"quality"', '"quality"\nonly = { seed = 1 }'), "unknown seed '1'.* Known: 0"),
        (('"quality"', '"quality"\nonly = { recipe = [] }'), "recipe of only names nothing"),
        (('"quality"', '"quality"\non = []'), "on names nothing"),
        (('"quality"', '"quality"\non.review = ["reviews"]'), "unknown data set of .grid. 'review'"),
        (("[grid]", "[recipes]\nvanilla = 'regex'\n[grid]"), "the recipe 'vanilla' must be a table, got 'regex'"),
    ],
)
def test_what_is_wrong_is_told(world, change, message):
    path = world.study([QUALITY])
    path.write_text(path.read_text().replace(*change))
    if message is None:  # a recipe that no model is trained with is not looked at
        assert len(tasks(path)) == 2
        return
    with pytest.raises(UserError, match=message):
        plan(read_study(path))


def test_a_part_that_no_task_is_of_is_told(world):
    path = str(world.study([QUALITY], recipes=["vanilla", "regex"]))
    status = ["study", "status", path, "--store", str(world.folder / "store"), "--only"]
    with pytest.raises(UserError, match="unknown value of recipe 'regexx': did you mean 'regex'"):
        CliRunner().invoke(app, [*status, "recipe=regexx"], catch_exceptions=False)
    with pytest.raises(UserError, match=r"unknown value of kind 'faithfulness'.* Known: quality, train"):
        CliRunner().invoke(app, [*status, "kind=faithfulness"], catch_exceptions=False)
    ended = CliRunner().invoke(
        app, [*status, "recipe=vanilla, regex", "--only", "kind = train"], catch_exceptions=False
    )
    assert ended.output.split()[-5:] == ["train", "0", "0", "0", "2"]


def test_a_part_has_the_measurements_that_are_asked_for_and_the_trainings_that_they_need(world):
    faithful = {
        "kind": "faithfulness",
        "attributions": ["random"],
        "replacement": "mask",
        "only": {"recipe": ["regex"]},
    }
    measures = [{"kind": "quality", "split": ["validation", "test"]}, faithful | {"level": ["token", "word"]}]
    path = str(world.study(measures, recipes=["vanilla", "regex"]))

    def counts(*conditions):
        status = ["study", "status", path, "--store", str(world.folder / "store")]
        given = [part for condition in conditions for part in ("--only", condition)]
        lines = CliRunner().invoke(app, [*status, *given], catch_exceptions=False).output.splitlines()
        rows = [line.split() for line in lines]
        return {row[0]: int(row[-1]) for row in rows if row and row[0] in ("train", "quality", "faithfulness")}

    assert counts() == {"train": 2, "quality": 4, "faithfulness": 2}
    assert counts("level=word") == {"train": 1, "faithfulness": 1}  # quality has no level; vanilla has nothing left
    assert counts("kind=quality", "split=test") == {"train": 2, "quality": 2}
    assert counts("split=test") == {"train": 2, "quality": 2, "faithfulness": 2}
    assert counts("recipe=vanilla") == {"train": 1, "quality": 2}
    assert counts("kind=train") == {"train": 2}
    assert counts("kind=train,quality", "recipe=regex") == {"train": 1, "quality": 2}
    assert counts("kind=quality", "level=word") == {}


def test_missing_files_and_splits_are_told(world):
    with pytest.raises(UserError, match="cannot read the study"):
        read_study(world.folder / "missing.toml")
    with pytest.raises(UserError, match="has no split 'dev', only: train, validation, test"):
        tasks(world.study([{"kind": "quality", "split": "dev"}]))
    (world.data / "train.jsonl").unlink()
    moved = world._replace(data=world.data.rename(world.folder / "untrained"))
    with pytest.raises(UserError, match="has no train split"):
        tasks(moved.study([QUALITY]))


def test_options_of_a_measurement_are_all_told():
    assert resolve_options("quality", {}) == {"split": "test"}
    assert resolve_options("faithfulness", {"max_examples": 3}) == {
        "split": "test",
        "attributions": ("random", "attention", "scaled_attention", "input_x_gradient", "integrated_gradients"),
        "metrics": ("sufficiency", "comprehensiveness"),
        "replacement": "pad", "level": "token", "max_examples": 3,
    }  # fmt: skip
