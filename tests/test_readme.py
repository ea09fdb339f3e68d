"""What the README tells a user to type works as it stands there."""

import re
from pathlib import Path

import pytest

import regex_lib
from regex_lib.study import read_table

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=["one loss", "a whole run"])
def test_the_code_blocks_run(
    block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As written, but on one layer and a few rows, so that it takes seconds.
    load_classifier, load_data = regex_lib.load_classifier, regex_lib.load_data
    monkeypatch.setattr(regex_lib, "load_classifier", lambda name: load_classifier(name, layers=1), raising=False)
    monkeypatch.setattr(
        regex_lib,
        "load_data",
        lambda name: type(data := load_data(name))({split: data[split].select(range(16)) for split in data}),
        raising=False,
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    assert "evaluate_faithfulness" not in block or "integrated_gradients" in capsys.readouterr().out


def test_the_verdicts_shown_are_those_of_the_tables() -> None:
    block = README.split("## What the study says so far")[1].split("\n## ")[0]
    tables = re.findall(r"(?:^\|.*\n)+", block, flags=re.MULTILINE)
    for shown, study in zip(tables, ("sst", "other_data"), strict=True):
        assert shown.splitlines()[2:] == [
            f"| {row.claim} | {row.pro} | {row.contra} | {row.open} | {row.left_out} | {row.verdict} |"
            for row in read_table(f"{study}/verdicts").eval("open = cells - pro - contra").itertuples()
        ]


def test_every_local_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target


def test_every_make_target_named_exists() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
