# SPDX-License-Identifier: LGPL-2.1-or-later
"""Python values as dbus-next marshals them, and back."""

import re
from collections.abc import Mapping

from dbus_next.signature import Variant

# A string on the bus is UTF-8 without NUL. The bus disconnects a client that sends another one, and
# strings can come from an image's config, where "\u0000" is valid JSON.
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")


def text(value: str) -> str:
    """Return the string with a replacement character for what the bus does not accept."""
    return _UNSENDABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def wire_value(value: object) -> object:
    """Return the value with lists for tuples, and only strings that the bus accepts."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Variant):
        return Variant(value.signature, wire_value(value.value))
    if isinstance(value, Mapping):
        return {wire_value(key): wire_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [wire_value(item) for item in value]
    return value


def size_of(value: object) -> int:
    """About how many bytes a value has in a message."""
    if isinstance(value, str):
        return len(value.encode()) + 8
    if isinstance(value, Variant):
        return size_of(value.value) + 8
    if isinstance(value, Mapping):
        return sum(size_of(key) + size_of(item) + 8 for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(map(size_of, value)) + 8
    return 8


def variants(named: Mapping[str, tuple[str, object]]) -> dict[str, Variant]:
    """Return an ``a{sv}``.

    Args:
        named: A signature and a value by each key.
    """
    return {key: Variant(signature, wire_value(value)) for key, (signature, value) in named.items()}
