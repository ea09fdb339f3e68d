"""The attribution methods by name, and how to add one."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from regex_lib.errors import UserError, unknown_name

__all__ = ["METHODS", "UNSIGNED", "AttributionMethod", "check_options", "find_method", "register"]


AttributionMethod = Callable[..., Float[Tensor, "batch tokens"]]
"""``method(classifier, batch, target, **options)``: scores of any sign for a :class:`TokenBatch` and one class per
example. Those outside the content mask are ignored."""

METHODS: dict[str, AttributionMethod] = {}
"""Every attribution method by its name."""

UNSIGNED = frozenset({
    "attention", "attention_rollout", "gradient_norm", "acl2022_input_x_gradient", "acl2022_integrated_gradients",
})  # fmt: skip
"""Those of the library's methods that say how much a token matters, and not for which class."""


def register(name: str) -> Callable[[AttributionMethod], AttributionMethod]:
    """Add an attribution method, so that ``attribute`` and ``evaluate_faithfulness`` know it by name.

    Args:
        name: its name in Python, on the command line and in tables.

    Raises:
        ValueError: if the name is taken by another function.

    Example:
        >>> @register("first_token")
        ... def first_token(classifier, batch, target):
        ...     return -batch.input_ids.float().cumsum(dim=1)
        >>> METHODS.pop("first_token") is first_token
        True
    """

    def add(method: AttributionMethod) -> AttributionMethod:
        if METHODS.setdefault(name, method) is not method:
            raise ValueError(f"there is an attribution method {name!r} already")
        return method

    return add


def find_method(name: str) -> AttributionMethod:
    """The method of a name.

    Raises:
        UserError: if there is none, with the nearest names.
    """
    if name not in METHODS:
        raise unknown_name("attribution", name, METHODS)
    return METHODS[name]


def check_options(name: str, options: Iterable[str], function: Callable[..., Any], inputs: int) -> None:
    """Refuse options that a function does not take beside its inputs.

    Args:
        name: of what has these options, for the error.
        options: their names.
        function: what would be called with them.
        inputs: how many arguments come before them.

    Raises:
        UserError: if it does not take one of them, with the nearest names.
    """
    signature = inspect.signature(function)

    def takes(option: str) -> bool:
        try:
            signature.bind_partial(*[None] * inputs, **{option: None})
        except TypeError:
            return False
        return True

    for option in options:
        if not takes(option):
            known = list(filter(takes, signature.parameters))
            if not known:
                raise UserError(f"{name} has no options, got {option!r}")
            raise unknown_name(f"{name} option", option, known)
