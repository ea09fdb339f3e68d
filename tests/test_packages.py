"""What was found must not be lost because a version is not known."""

from importlib.metadata import PackageNotFoundError, version

import datasets
import torch

from regex_lib import packages
from regex_lib.models import load_classifier
from regex_lib.packages import package_versions
from regex_lib.training import read_run, train


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
