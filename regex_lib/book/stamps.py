"""The stamp of a published run: what was run, with what, where and when."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import regex_lib
from regex_lib.packages import package_versions

__all__ = ["KEY", "digest", "git", "make_stamp", "provenance"]

KEY = "regex_book"
"""The stamp's place in the metadata of a twin."""

PACKAGES = ("torch", "transformers", "captum", "datasets", "numpy", "scikit-learn", "ipywidgets")
"""What the stamp gives the versions of, beside Python's."""


def digest(source: Path) -> str:
    """The SHA-256 of a source's text."""
    return hashlib.sha256(source.read_text(encoding="utf-8").encode()).hexdigest()


def make_stamp(source: Path, parameters: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The stamp of a run that has just ended.

    Args:
        source: the chapter's percent source.
        parameters: those that replaced the chapter's own.
        seconds: what the run took.
    """
    return {
        "source_sha256": digest(source),
        "library": regex_lib.__version__,
        "commit": _commit(source.parent),
        "parameters": dict(parameters),
        "device": _device(),
        "seconds": round(seconds),
        "date": datetime.now(UTC).date().isoformat(),
        "packages": {"python": platform.python_version()} | package_versions(PACKAGES),
    }


def provenance(stamp: Mapping[str, Any]) -> str:
    """The stamp in one line for a reader.

    Example:
        >>> provenance({  # doctest: +ELLIPSIS
        ...     "library": "0.1.0", "commit": "0679232", "parameters": {"epochs": 1}, "device": "CPU, 1 of 2 cores",
        ...     "seconds": 75, "date": "2026-11-24", "packages": {"torch": "2.13.0"},
        ... })
        'Run on 2026-11-24 in 1 min 15 s on CPU, 1 of 2 cores, with CPU-size settings (epochs=1); regex-lib...'
    """
    minutes, seconds = divmod(stamp["seconds"], 60)
    took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    changed = ", ".join(f"{name}={value}" for name, value in stamp["parameters"].items())
    kind = "CPU-size" if stamp["device"].startswith("CPU") else "changed"
    settings = f", with {kind} settings ({changed})" if changed else ", with the settings below"
    library = (
        f"regex-lib {stamp['library']} ({stamp['commit']})" if stamp["commit"] else f"regex-lib {stamp['library']}"
    )
    return (
        f"Run on {stamp['date']} in {took} on {stamp['device']}{settings}; {library}, "
        f"torch {stamp['packages']['torch']}."
    )


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())  # the kernel's: it has the environment
    return f"CPU, {threads} of {cores} cores"


def _commit(folder: Path) -> str:
    """The commit of the library, with a plus if it was changed since; empty outside a repository."""
    head = git(folder, "rev-parse", "--short=10", "HEAD")
    return head and head + ("+" if git(folder, "status", "--porcelain", "--", ":/regex_lib") else "")


def git(folder: Path, *arguments: str) -> str:
    """What git says in a folder; empty outside a repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
