"""Scripts from npm that the pages need, so that nothing is asked from a network when the book is read."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from regex_lib.errors import UserError

__all__ = ["PACKAGES", "NpmPackage", "fetch", "vendor"]


@dataclass(frozen=True)
class NpmPackage:
    """A package of the npm registry, pinned."""

    name: str
    version: str
    sha512: str
    """Of the packed file, in base64, as the registry gives it."""
    files: Mapping[str, str]
    """Which of its files or folders are taken, and where they go."""


_ICONS = ("1551f4f60c37af51121f.woff2", "7a3337626410ca2f4071.woff2", "d878b0a6a1144760244f.woff2")  # of the widgets

PACKAGES = (
    NpmPackage(
        "mathjax",
        "3.2.2",
        "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        {
            "es5/tex-chtml.js": "mathjax/tex-chtml.js",
            "es5/output/chtml/fonts/woff-v2": "mathjax/output/chtml/fonts/woff-v2",
        },
    ),
    NpmPackage(
        "requirejs",
        "2.3.8",
        "7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
        {"require.js": "require.js"},
    ),
    NpmPackage(
        "@jupyter-widgets/html-manager",
        "1.0.15",
        "5thBIV6ymNgmPVOHvzx+gGy8ZSKmSazhtGw4/c4xJDVzRhG9PTeQsRjF3FUTopvFi//SABeNz1yp47bCrJ3CQA==",
        {f"dist/{name}": name for name in ("embed-amd.js", *_ICONS)},
    ),
)
"""What the pages load: maths, the loader of the widgets, and the widgets."""


def vendor(folder: Path) -> None:
    """Bring the files of :data:`PACKAGES` into a folder, unless they are there already."""
    wanted = {f"{package.name}@{package.version}": dict(package.files) for package in PACKAGES}
    record = folder / "versions.json"
    if record.is_file() and json.loads(record.read_text(encoding="utf-8")) == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        fetch(package, folder)
    _find_icons_beside(folder / "embed-amd.js")
    record.write_text(json.dumps(wanted), encoding="utf-8")


def fetch(package: NpmPackage, folder: Path) -> None:
    """Bring the files of one package into a folder.

    Raises:
        UserError: if npm is missing or fails, or what it brought is not what is pinned.
    """
    with tempfile.TemporaryDirectory() as scratch:
        packed = _pack(package, Path(scratch))
        found = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
        if found != package.sha512:
            raise UserError(f"{package.name}@{package.version} is not what is pinned: its SHA-512 is {found}")
        with tarfile.open(packed) as archive:
            archive.extractall(scratch, filter="data")
        for name, place in package.files.items():
            source, target = Path(scratch, "package", name), folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


def _find_icons_beside(script: Path) -> None:
    """Let the widgets' script look for its icons where the page says from the start; by itself it does so too late."""
    text = script.read_text(encoding="utf-8")
    text = re.sub(r'\b\w+\.p\+(?="[0-9a-f]{20}\.)', "window.__jupyter_widgets_assets_path__+", text)
    script.write_text(text, encoding="utf-8")


def _pack(package: NpmPackage, folder: Path) -> Path:
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise UserError("npm was not found: install Node.js, which the book needs for maths and widgets") from error
    except subprocess.CalledProcessError as error:
        raise UserError(f"`{' '.join(command)}` failed: {error.stderr}") from error
    return folder / done.stdout.split()[-1]
