"""The error that a user can mend, and how it is worded."""

import difflib
from collections.abc import Collection, Iterable

__all__ = ["UserError", "check_names", "unknown_name"]


class UserError(ValueError):
    """An input that its user can correct. The message is one line; the command line prints it and exits with 2.

    Example:
        >>> raise UserError("the text is empty")
        Traceback (most recent call last):
        ...
        regex_lib.errors.UserError: the text is empty
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a catalogue, with the nearest names that are.

    Args:
        kind: what the name stands for, such as ``"recipe"``.
        name: the name as it was given.
        known: every name that would have been right.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> str(unknown_name("recipe", "regx", ["regex", "vanilla"]))
        "unknown recipe 'regx': did you mean 'regex'? Known: regex, vanilla"
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f" did you mean {' or '.join(map(repr, near))}?" if near else ""
    return UserError(f"unknown {kind} {name!r}:{hint} Known: {', '.join(known)}")


def check_names(kind: str, names: Iterable[object], known: Collection[object]) -> None:
    """Accept names that are all in a catalogue.

    Args:
        kind: what the names stand for, such as ``"recipe"``.
        names: the names as they were given, or other values, such as seeds.
        known: all that would have been right.

    Raises:
        UserError: for the first that is not, with the nearest names that are.

    Example:
        >>> check_names("recipe", ["regex", "vanila"], ["regex", "vanilla"])
        Traceback (most recent call last):
        ...
        regex_lib.errors.UserError: unknown recipe 'vanila': did you mean 'vanilla'? Known: regex, vanilla
    """
    for name in names:
        if name not in known:
            raise unknown_name(kind, str(name), map(str, known))
