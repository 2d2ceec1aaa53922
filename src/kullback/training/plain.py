"""Options that are plain numbers: a tensor, a string or True is none, whatever it compares to."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from kullback.errors import InputError, NonFiniteError

__all__ = ["finite_number", "plain_bool", "plain_int", "plain_number"]


def plain_number(value: Any, name: str, *, advice: str = "") -> float:
    """The float of an option's value; NaN and infinities pass.

    Raises:
        InputError: it is no real number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name}={value!r} is of {_kind(value)}: pass a plain number{advice}")
    return float(value)


def finite_number(value: Any, name: str, *, least: float = -math.inf, advice: str = "") -> float:
    """The float of an option's value, which is finite and not below `least`.

    Raises:
        NonFiniteError: NaN.
        InputError: no real number, an infinity, or one below `least`.

    Example:
        >>> finite_number(1, "nats", least=0)
        1.0
    """
    number = plain_number(value, name, advice=advice)
    if math.isnan(number):
        raise NonFiniteError(f"{name}={value}: pass a number{advice}")
    if not (math.isfinite(number) and number >= least):
        above = "" if least == -math.inf else f" and at least {least:g}"
        raise InputError(f"{name}={value}: it must be finite{above}{advice}")
    return number


def plain_int(value: Any, name: str, *, least: int | None = None, advice: str = "") -> int:
    """The int of an option's value, 2.0 being none; not below `least`.

    Raises:
        InputError: it is no whole number, or too small a one.

    Example:
        >>> plain_int(3, "steps", least=1)
        3
    """
    above = "" if least is None else f", at least {least}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(
            f"{name}={value!r} is of {_kind(value)}: it must be a whole number{above}{advice}"
        )
    number = int(value)
    if least is not None and number < least:
        raise InputError(f"{name}={number}: it must be a whole number{above}{advice}")
    return number


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
