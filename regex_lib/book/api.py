"""The API pages: one for each public package, made from its docstrings."""

import pkgutil
import types
import zlib
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from sphinx.pycode import ModuleAnalyzer

import regex_lib

__all__ = ["public_modules", "undocumented", "write_api_pages"]

_PRIVATE = {"cli", "__main__"}


def public_modules() -> list[str]:
    """The modules that a user imports from: the package and what lies directly in it.

    Example:
        >>> "regex_lib.losses" in public_modules(), "regex_lib.cli" in public_modules()
        (True, False)
    """
    names = sorted(module.name for module in pkgutil.iter_modules(regex_lib.__path__))
    return ["regex_lib", *(f"regex_lib.{name}" for name in names if name not in _PRIVATE)]


def write_api_pages(folder: Path) -> None:
    """Write a page for each public module. One that is right already is left alone, so that it is not built again."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {folder / f"{name}.md": _page(name) for name in public_modules()}
    for path in set(folder.glob("*.md")) - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def undocumented(inventory: Path, modules: Iterable[str]) -> list[str]:
    """Names in a module's ``__all__`` that the built pages do not describe.

    Args:
        inventory: Sphinx's ``objects.inv``.
        modules: the names of the modules.
    """
    described = _described(inventory)
    names = [name for module in modules for name in _offered(module)]
    return [f"{name} is in __all__, and not on an API page" for name in names if name not in described]


def _page(module: str) -> str:
    lines = [f".. automodule:: {module}", "   :members:", ""]
    if module == "regex_lib":  # what it offers is described where it comes from
        lines += [f"- :py:obj:`{name}`" for name in _offered(module)]
        return _in_markdown(module, lines)
    for name, text in _data(module).items():
        lines += [f".. py:data:: {name}", "", *(f"   {line}".rstrip() for line in text), ""]
    return _in_markdown(module, lines)


def _in_markdown(module: str, lines: Iterable[str]) -> str:
    return "\n".join([f"# `{module}`", "", "```{eval-rst}", *lines, "```", ""])


def _offered(module: str) -> list[str]:
    """The names in a module's ``__all__``, each with the public module that describes it."""
    offered = import_module(module)
    if module != "regex_lib":
        return [f"{module}.{name}" for name in offered.__all__]
    homes = {name: getattr(offered, name).__module__.split(".")[1] for name in offered.__all__}
    return [f"regex_lib.{home}.{name}" for name, home in homes.items()]


def _data(module: str) -> dict[str, list[str]]:
    """The names in ``__all__`` that autodoc passes over, because they are no classes or functions; and their texts."""
    package = import_module(module)
    texts: dict[str, list[str]] = {}
    for inner in (module, *_inside(package)):
        found = ModuleAnalyzer.for_module(inner).find_attr_docs()
        texts = {name: text for (scope, name), text in found.items() if not scope} | texts
    described = (types.FunctionType, types.ModuleType, type)
    names = [name for name in package.__all__ if not isinstance(getattr(package, name), described)]
    return {name: texts.get(name, []) for name in names}


def _inside(package: types.ModuleType) -> list[str]:
    """The modules of a package; none for a module that is not a package."""
    return [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(getattr(package, "__path__", []))]


def _described(inventory: Path) -> set[str]:
    """The Python names in an inventory: four lines of header, then, compressed, lines of a name, a kind and more."""
    packed = inventory.read_bytes().split(b"\n", 4)[4]
    lines = (line.split(" ") for line in zlib.decompress(packed).decode().splitlines())
    return {name for name, kind, *_ in lines if kind.startswith("py:")}
