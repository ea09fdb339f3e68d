"""Which versions of packages a result was made with."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

__all__ = ["package_versions"]


def package_versions(names: Iterable[str]) -> dict[str, str | None]:
    """Installed versions by package name; None of what is not installed, such as a checkout used through PYTHONPATH.

    What a run has found must not be lost because a version is not known.

    Example:
        >>> package_versions(["no-such-package"])
        {'no-such-package': None}
    """
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
