"""Results in a folder: killed evaluations go on, nothing finished is done again, and nothing else is taken for it."""

import re
import subprocess
import sys
from pathlib import Path

import datasets
import pandas as pd
import pytest
import tokenizers
import torch
from evaluated_in_a_process import ATTRIBUTIONS, METRICS, SETTINGS, rows

from regex_lib.attributions import METHODS, register
from regex_lib.errors import UserError
from regex_lib.evaluation import evaluate_faithfulness, faithfulness, read_report
from regex_lib.evaluation.shards import weights_digest
from regex_lib.models import load_classifier

PROGRAM = Path(__file__).with_name("evaluated_in_a_process.py")
SHARDS = 5  # 18 texts, four at a time


@pytest.fixture(scope="module")
def model(make_tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_tiny("bert").save(folder)
    return folder


@pytest.fixture
def classifier(model):
    return load_classifier(model, device="cpu").double()


@pytest.fixture
def measured(monkeypatch):
    """How many texts each measured shard has."""
    sizes, measure = [], faithfulness.measure

    def counted(classifier, predict, texts, *rest):
        sizes.append(len(texts))
        return measure(classifier, predict, texts, *rest)

    monkeypatch.setattr(faithfulness, "measure", counted)
    return sizes


def evaluate(classifier, output_dir=None, data=None, attributions=ATTRIBUTIONS, metrics=METRICS, **options):
    return evaluate_faithfulness(
        classifier, rows() if data is None else data, attributions, metrics, output_dir=output_dir, **SETTINGS | options
    )


def run(*arguments, processes=1):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def shards_in(folder):
    return sorted(path for path in folder.glob("*.parquet") if re.fullmatch(r"[0-9a-f]{32}", path.stem))


def assert_same_report(found, expected):
    pd.testing.assert_frame_equal(found.table, expected.table, rtol=0, atol=1e-12)
    pd.testing.assert_frame_equal(found.examples, expected.examples, rtol=0, atol=1e-12)
    pd.testing.assert_frame_equal(found.curves, expected.curves, rtol=0, atol=1e-12)
    assert found.classification == expected.classification
    assert found.settings == expected.settings
    assert found.notes == expected.notes


def test_a_folder_changes_no_result(classifier, tmp_path):
    assert_same_report(evaluate(classifier, tmp_path), evaluate(classifier))
    assert len(shards_in(tmp_path)) == SHARDS


def test_a_finished_report_is_read_again_without_the_model(classifier, tmp_path):
    report = evaluate(classifier, tmp_path)
    assert_same_report(read_report(tmp_path), report)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), report.table)


# Killed


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3])
def test_a_killed_evaluation_goes_on_and_ends_with_the_same_table(model, classifier, tmp_path, measured, shards):
    killed = run(model, tmp_path, shards, tmp_path)
    assert killed.returncode == -9, killed.stderr
    finished = {path: path.stat().st_mtime_ns for path in shards_in(tmp_path)}
    assert len(finished) == shards
    with pytest.raises(UserError, match="holds no finished report"):
        read_report(tmp_path)
    report = evaluate(classifier, tmp_path)
    assert len(measured) == SHARDS - shards
    assert finished.items() <= {path: path.stat().st_mtime_ns for path in shards_in(tmp_path)}.items()
    assert_same_report(report, evaluate(classifier))


def test_a_second_start_measures_nothing(classifier, tmp_path, measured):
    first = evaluate(classifier, tmp_path)
    done = len(measured)
    finished = []
    assert_same_report(evaluate(classifier, tmp_path, progress=finished.append), first)
    assert len(measured) == done == SHARDS
    assert sum(finished) == 18


@pytest.mark.parametrize("damage", ["cut", "emptied", "deleted"])
def test_a_damaged_shard_is_measured_again(classifier, tmp_path, measured, damage):
    first = evaluate(classifier, tmp_path)
    measured.clear()
    path = shards_in(tmp_path)[0]
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "cut" else 0])
    assert_same_report(evaluate(classifier, tmp_path), first)
    assert len(measured) == 1


def test_what_a_killed_process_was_writing_is_no_shard(classifier, tmp_path, monkeypatch):
    to_parquet = pd.DataFrame.to_parquet

    def die_in_the_middle(frame, path, **options):
        to_parquet(frame, path, **options)
        path.write_bytes(path.read_bytes()[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_parquet", die_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        evaluate(classifier, tmp_path)
    assert not shards_in(tmp_path)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", to_parquet)
    assert_same_report(evaluate(classifier, tmp_path), evaluate(classifier))


# What a shard's name depends on


CHANGES = {
    "ratios": {"ratios": (0.2, 0.5)},
    "aopc": {"aopc": "acl2022"},
    "level": {"level": "word"},
    "replacement": {"replacement": "mask"},
    "max_length": {"max_length": 20},
    "seed": {"seed": 1},
    "precision": {"precision": "bf16"},
    "options": {"options": {"attention": {}}},
    "metric_options": {"metric_options": {"loo_tau": {}}},
    "attributions": {"attributions": ("random", "gradient_norm")},
    "metrics": {"metrics": ("sufficiency",)},
    "shard_size": {"shard_size": 3},
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_settings_are_measured_anew_beside_the_old(classifier, tmp_path, measured, change):
    first = evaluate(classifier, tmp_path)
    measured.clear()
    evaluate(classifier, tmp_path, **CHANGES[change])
    assert sum(measured) == 18
    measured.clear()
    assert_same_report(evaluate(classifier, tmp_path), first)
    assert not measured


def test_the_batch_size_and_compilation_do_not_count(classifier, tmp_path, measured, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    evaluate(classifier, tmp_path)
    measured.clear()
    evaluate(classifier, tmp_path, batch_size=3, compiled=True)
    assert not measured


@pytest.mark.parametrize("column", ["text", "label"])
def test_a_changed_text_or_label_is_measured_anew_with_its_shard(classifier, tmp_path, measured, column):
    evaluate(classifier, tmp_path)
    measured.clear()
    data = rows().to_dict()
    data[column][0] = {"text": "the", "label": 1}[column]  # as short as what it was
    evaluate(classifier, tmp_path, datasets.Dataset.from_dict(data))
    assert measured == [4]


def test_other_weights_are_measured_anew(classifier, tmp_path, measured):
    evaluate(classifier, tmp_path)
    measured.clear()
    with torch.no_grad():
        classifier.model.classifier.bias[0] += 1e-12
    evaluate(classifier, tmp_path)
    assert sum(measured) == 18


def test_the_digest_is_that_of_what_predicts(make_tiny, model):
    expected = weights_digest(load_classifier(model, device="cpu"))
    again = load_classifier(model, device="cpu")
    again.tokenize(["a film", "dull"], 5)  # leaves its padding and truncation in the tokenizer
    again.label_names = ["bad", "good"]
    assert weights_digest(again) == expected
    assert weights_digest(again.double()) != expected
    lower = load_classifier(model, device="cpu")
    lower.tokenizer.backend_tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    assert weights_digest(lower) != expected
    assert weights_digest(make_tiny("bert", seed=1)) != expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pad_token", "[UNK]"),
        ("mask_token", "[UNK]"),
        ("eos_token", "dull"),
        ("model_max_length", 20),
        ("truncation_side", "left"),
        ("split_special_tokens", True),
    ],
)
def test_what_the_tokenizer_keeps_beside_its_backend_counts_too(classifier, tmp_path, measured, name, value):
    expected = weights_digest(classifier)
    evaluate(classifier, tmp_path)
    measured.clear()
    setattr(classifier.tokenizer, name, value)
    assert weights_digest(classifier) != expected
    evaluate(classifier, tmp_path)
    assert sum(measured) == 18


# Several processes


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_several_processes_share_the_work_and_have_the_whole_report(model, classifier, tmp_path, shared):
    folder = tmp_path / "shards" if shared else ""
    done = run(model, folder, 99, tmp_path, processes=2)
    assert done.returncode == 0, done.stderr
    expected = evaluate(classifier)
    for rank in (0, 1):
        table, examples = (pd.read_parquet(tmp_path / f"{name}-{rank}.parquet") for name in ("table", "examples"))
        pd.testing.assert_frame_equal(table, expected.table, rtol=0, atol=1e-12)
        pd.testing.assert_frame_equal(examples, expected.examples, rtol=0, atol=1e-12)
    if shared:
        assert_same_report(read_report(folder), expected)


# Folders


def test_a_report_in_memory_can_be_written_and_read(classifier, tmp_path):
    report = evaluate(classifier, options={"expected_gradients": {"references": ("dull", "a film")}})
    report.to_parquet(tmp_path / "new" / "folder")
    assert_same_report(read_report(tmp_path / "new" / "folder"), report)


def test_a_report_in_a_folder_can_be_copied(classifier, tmp_path):
    report = evaluate(classifier, tmp_path / "first")
    report.to_parquet(tmp_path / "second")
    report.to_parquet(tmp_path / "first")
    for folder in ("first", "second"):
        assert_same_report(read_report(tmp_path / folder), report)


def test_texts_without_content_are_left_out_of_a_folder_too(classifier, tmp_path):
    data = datasets.Dataset.from_dict({"text": ["", "[SEP]", "a film"], "label": [0, 1, 1]})
    report = evaluate(classifier, tmp_path, data, shard_size=2)
    assert report.settings["left_out"] == 2
    assert report.examples["example"].tolist() == [2, 2]
    assert_same_report(evaluate(classifier, tmp_path, data, shard_size=2), report)
    with pytest.raises(UserError, match="no text has content tokens"):
        evaluate(classifier, tmp_path, data.select([0, 1]))


def test_a_folder_that_cannot_be_written_to_is_told_before_any_work(classifier, tmp_path, measured):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to '.*file.*': "):
        evaluate(classifier, tmp_path / "file")
    assert not measured


def test_a_full_disk_is_told(classifier, tmp_path, monkeypatch):
    def full(frame, path, **_):
        path.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(UserError, match=r"cannot write to '.*': No space left on device"):
        evaluate(classifier, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_folder_without_a_report_is_told(tmp_path, content):
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(UserError, match="holds no finished report"):
        read_report(tmp_path)


def test_options_that_look_alike_but_differ_are_measured_anew(classifier, tmp_path, measured):
    """A long column's `repr` is cut after five texts."""
    columns = [
        datasets.Dataset.from_dict({"text": ["fine"] * 5 + [text] * 40})["text"]
        for text in ("great great great", "dull never bad not")
    ]
    tables = []
    for references in columns:
        options = {"expected_gradients": {"references": references, "n_samples": 4}}
        report = evaluate(classifier, tmp_path, attributions=["expected_gradients"], options=options)
        tables.append(report.table)
        assert read_report(tmp_path).settings["options"]["expected_gradients"]["references"] == list(references)
    assert sum(measured) == 2 * len(rows())
    assert not tables[0].equals(tables[1])


def test_an_option_that_cannot_be_told_is_refused_for_a_folder_and_named_without(classifier, tmp_path):
    @register("by_function")
    def by_function(classifier, batch, target, *, function):
        return function(batch.input_ids.float())

    try:
        ask = {"attributions": ["by_function"], "options": {"by_function": {"function": abs}}}
        assert "abs" in evaluate(classifier, **ask).settings["options"]["by_function"]["function"]
        with pytest.raises(UserError, match="an option cannot be kept with the results, a builtin_function_or_method"):
            evaluate(classifier, tmp_path, **ask)
    finally:
        METHODS.pop("by_function")
