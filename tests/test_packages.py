"""What was found must not be lost because a version is not known."""

import ast
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from itertools import chain
from pathlib import Path

import datasets
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import regex_lib
from regex_lib import packages
from regex_lib.models import load_classifier
from regex_lib.packages import package_versions
from regex_lib.training import read_run, train


def imported(folder):
    """The packages that a folder's modules import, by the names of the import."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"regex_lib"}


def test_what_is_imported_is_declared():
    """Not only brought by another package, which may leave it out one day."""
    root = Path(regex_lib.__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {canonicalize_name(Requirement(each).name) for each in wanted}
    providers = packages_distributions()
    missing = {
        name for name in imported(root / "regex_lib") if not declared & set(map(canonicalize_name, providers[name]))
    }
    assert missing == set()


def test_installed_versions():
    assert package_versions(["torch", "regex-lib"]) == {"torch": torch.__version__, "regex-lib": version("regex-lib")}


def test_a_checkout_that_is_not_installed_trains(monkeypatch, tmp_path):
    """As through PYTHONPATH, where there is no metadata of the package."""

    def not_installed(name):
        if name == "regex-lib":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(packages, "version", not_installed)
    classifier = load_classifier("minilm", layers=1)
    rows = {"text": ["A fine film.", "Dull."], "label": [1, 0]}
    train(classifier, {"train": datasets.Dataset.from_dict(rows)}, "vanilla", tmp_path / "run", epochs=1.0)
    recorded = read_run(tmp_path / "run").packages
    assert recorded["regex-lib"] is None
    assert recorded["torch"] == torch.__version__
