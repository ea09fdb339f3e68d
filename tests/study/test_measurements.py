"""What a study measures must be what a user would measure by hand of the same models."""

import pandas as pd
import pytest

from regex_lib.checks import different_initialisations, evaluate_shortcuts, stability, untrained_model
from regex_lib.data import Shortcut, load_data
from regex_lib.errors import UserError
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.models import load_classifier
from regex_lib.rationales import select_then_predict
from regex_lib.study import Store, collect, means, plan, read_study, scores
from regex_lib.study.work import work

ATTRIBUTIONS = ["random", "attention", "input_x_gradient"]
SETTINGS = {"epochs": 1.0, "batch_size": 4, "learning_rate": 1e-2}


@pytest.fixture
def measured(world):
    """Runs a study of one measurement: its rows and the folders of its models, by seed."""

    def run(measure, *, recipe="igr", seeds=(3, 5)):
        measure = {"attributions": ATTRIBUTIONS} | measure
        jobs = plan(read_study(world.study([measure], recipes=[recipe], seeds=list(seeds), **SETTINGS)))
        store = Store(world.folder / "store")
        for job in jobs:
            work(job, store)
        failures = [store.failure(task)["traceback"] for job in jobs for task in job.tasks if store.failure(task)]
        assert not failures, failures[0]
        return jobs, store

    return run


def assert_same(found, expected, keys):
    """The same rows, in any order; a store keeps single precision."""
    columns = list(expected)
    found, expected = (
        frame[columns].astype({key: str for key in keys if key != "example"}).sort_values(keys, ignore_index=True)
        for frame in (found, expected)
    )
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-4, atol=1e-5)


def test_agreement_with_other_models(world, measured):
    jobs, store = measured({"kind": "randomisation", "max_examples": 4})
    first, second = (load_classifier(store.model(job.tasks[0])) for job in jobs)
    texts = load_data(world.data)["test"].shuffle(seed=0).select(range(4))["text"][:]
    for job, model, other in zip(jobs, (first, second), (second, first), strict=True):
        rows = store.read(job.tasks[1])
        rows["against"] = rows["against"].astype(str)
        seed = job.tasks[0].labels["seed"]
        pretrained = load_classifier(world.model, num_labels=2, seed=seed)
        for against, expected in (
            ("other_seed", different_initialisations(model, other, texts, ATTRIBUTIONS)),
            ("pretrained", untrained_model(model, pretrained, texts, ATTRIBUTIONS)),
            ("random weights", untrained_model(model, None, texts, ATTRIBUTIONS, seed=seed)),
        ):
            columns = ["attribution", "example", "jaccard", "random_jaccard", "spearman", "same_prediction"]
            expected = expected[columns].astype({"same_prediction": float})
            if against == "random weights":  # there, random attribution has the seed of the weights
                expected = expected[expected["attribution"] != "random"]
                rows = rows[(rows["attribution"] != "random") | (rows["against"] != against)]
            assert_same(rows[rows["against"] == against], expected, ["attribution", "example"])
        assert list(rows["against"].unique())[2:4] == ["random head", "random layer_1"]
        head = rows[(rows["against"] == "random head") & (rows["attribution"] == "attention")]
        assert (head["jaccard"] == 1).all()  # attention does not go through the head


def test_agreement_needs_two_seeds(world):
    with pytest.raises(UserError, match=r"randomisation compares models of 2 seeds, and \[grid\] has 1"):
        read_study(world.study([{"kind": "randomisation"}], seeds=[1]))


def test_stability_is_the_mean_over_samples(world, measured):
    jobs, store = measured({"kind": "stability", "max_examples": 4, "samples": 2}, seeds=[3])
    classifier = load_classifier(store.model(jobs[0].tasks[0]))
    texts = load_data(world.data)["test"].shuffle(seed=0).select(range(4))["text"][:]
    frame = stability(classifier, texts, ATTRIBUTIONS, samples=2).astype({"same_prediction": float})
    keys = ["perturbation", "attribution", "example"]
    columns = ["jaccard", "random_jaccard", "spearman", "same_prediction", "comprehensiveness"]
    assert_same(store.read(jobs[0].tasks[1]), frame.groupby(keys)[columns].mean().reset_index(), keys)
    table = means(scores(collect(jobs, store)))
    assert {"insertion", "removal", "typo", "noise"} == set(table["perturbation"])
    assert {"comprehensiveness", "jaccard"} < set(table["metric"])


def test_transfer_is_quality_and_faithfulness_of_drawn_texts(world, measured):
    measure = {"kind": "transfer", "on": ["reviews"], "max_texts": 9, "max_examples": 3, "max_length": 8}
    jobs, store = measured(measure | {"metrics": ["sufficiency"]}, seeds=[3])
    rows = store.read(jobs[0].tasks[1])
    classifier = load_classifier(store.model(jobs[0].tasks[0]))
    some = load_data("reviews")["test"].shuffle(seed=0).select(range(9))
    quality = rows[rows["attribution"].isna()]
    assert len(quality) == 9
    expected = classify(classifier, some, max_length=8)
    assert quality["macro_f1"].iloc[0] == pytest.approx(expected["macro_f1"])
    assert quality["accuracy"].mean() == pytest.approx(expected["accuracy"])
    report = evaluate_faithfulness(
        classifier, some, ATTRIBUTIONS, ["sufficiency"], replacement="mask", max_examples=3, max_length=8
    )
    keys = ["attribution", "example"]
    assert_same(rows[rows["attribution"].notna()], report.examples[[*keys, "sufficiency"]], keys)
    table = means(scores(collect(jobs, store))).set_index(["attribution", "metric"])
    assert table.loc[("attention", "sufficiency"), "examples"] == 3
    assert table.loc[("", "accuracy"), "examples"] == 9


def test_labels_of_another_data_set_go_by_their_names(world, monkeypatch):
    monkeypatch.setenv("REGEX_DATA", str(world.folder / "copies"))
    for name, labels in (("sst", [0, 1] * 4), ("amaz_pantry", [0, 1, 2, 2] * 2)):
        folder = world.folder / "copies" / name
        folder.mkdir(parents=True)
        for split in ("train", "validation", "test"):
            rows = pd.DataFrame({"text": [f"{split} film {row}" for row in range(8)], "label": labels})
            rows.to_json(folder / f"{split}.jsonl", orient="records", lines=True)
    study = world._replace(data="sst").study([{"kind": "quality", "on": ["amaz_pantry"]}], **SETTINGS)
    (job,) = plan(read_study(study))
    store = Store(world.folder / "store")
    work(job, store)
    assert store.read(job.tasks[1])["label"].tolist() == [0, 1, 1, 0, 1, 1]  # neutral ones have no class


def test_rationales_are_read_by_new_models(world, measured):
    measure = {"kind": "rationales", "ratio": 0.5, "contiguous": [False, True], "max_texts": 5, "max_train": 8}
    jobs, store = measured(measure | {"attributions": ["attention"]}, seeds=[3])
    data = load_data(world.data)
    tests = data["test"].shuffle(seed=0).select(range(5))
    for task, contiguous in zip(jobs[0].tasks[1:], (False, True), strict=True):
        expected = select_then_predict(
            load_classifier(store.model(jobs[0].tasks[0])), {"train": data["train"], "test": tests},
            lambda seed: load_classifier(world.model, num_labels=2, seed=seed), ["attention"], ratio=0.5,
            contiguous=contiguous, seed=3, max_train=8, **SETTINGS,
        )  # fmt: skip
        rows = store.read(task)
        assert rows["contiguous"].tolist() == [contiguous]
        columns = ["attribution", "macro_f1", "accuracy", "full_text_macro_f1", "full_text_accuracy", "words"]
        assert_same(rows, expected[columns], ["attribution"])


def test_shortcuts_are_planted_by_the_models_recipe(world, measured, monkeypatch):
    monkeypatch.setattr("regex_lib.study.measurements.retraining.evaluate_shortcuts", noted := Noted())
    jobs, store = measured({"kind": "shortcuts", "max_train": 6, "shortcut": "ordered_pair"}, seeds=[3])
    arguments, settings = noted.call
    assert arguments[2].igr_weight > 0
    assert arguments[3:] == ([Shortcut("ordered_pair")], ATTRIBUTIONS)
    assert (settings["seed"], settings["max_train"]) == (3, 6)
    rows = store.read(jobs[0].tasks[1])
    assert rows["attribution"].tolist() == ATTRIBUTIONS
    assert rows["shortcut"].tolist() == ["ordered_pair"] * 3
    assert rows["verified"].eq(0).all()  # this model has seen too little
    assert rows["precision"].isna().all()
    assert rows["clean_accuracy"].between(0, 1).all()


class Noted:
    """Calls the check, and keeps how."""

    def __call__(self, *arguments, **settings):
        self.call = arguments, settings
        return evaluate_shortcuts(*arguments, **settings)
