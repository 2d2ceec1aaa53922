"""Options that are plain numbers: a tensor, a string or True is none, whatever it compares to."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from kullback.errors import InputError

__all__ = ["plain_bool", "plain_int", "plain_number"]


def plain_number(value: Any, name: str) -> float:
    """The float of an option's value; NaN and infinities pass.

    Raises:
        InputError: it is no real number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name}={value!r} is of {_kind(value)}: pass a plain number")
    return float(value)


def plain_int(value: Any, name: str) -> int:
    """The int of an option's value.

    Raises:
        InputError: it is no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name}={value!r} is of {_kind(value)}: it must be a whole number")
    return int(value)


def plain_bool(value: Any, name: str) -> bool:
    """The option's value.

    Raises:
        InputError: it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r} is of {_kind(value)}: pass True or False")
    return value


def _kind(value: Any) -> str:
    return f"type {type(value).__name__}"
