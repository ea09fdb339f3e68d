"""The error that a user can mend, and how it is worded."""

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "unknown_name"]


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
