# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks the types of values in replies: with ``--host``, an attacker may have made them."""

import functools
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


class Checked:
    """The base of a dataclass whose fields have the types that are written there.

    Raises:
        TypeError: One of them has another type.
    """

    __slots__ = ()

    def __post_init__(self) -> None:
        """Check the fields."""
        kind: type = type(self)
        for name, wanted in _types(kind).items():
            if not _has_type(getattr(self, name), wanted):
                raise TypeError(f"{name} of {kind.__name__} has another type")


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _has_type(value: Any, wanted: Any) -> bool:
    origin, inner = get_origin(wanted), get_args(wanted)
    if wanted in (Any, object):
        return True
    if origin is None:
        # Not isinstance(): a bool is an int as well.
        return type(value) is wanted
    if origin is UnionType:
        return any(_has_type(value, one) for one in inner)
    if not isinstance(value, origin):
        return False
    if origin is dict:
        return all(_has_type(one, inner[1]) for one in value.values())
    if inner[-1] is Ellipsis:
        return all(_has_type(one, inner[0]) for one in value)
    return len(value) == len(inner) and all(map(_has_type, value, inner))
