# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts plain Python values to D-Bus values, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dbus_next.signature import Variant


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A file descriptor to pass in an option; the caller keeps it open during the call."""

    number: int


@dataclass(frozen=True, slots=True)
class SmallNumber:
    """A number of 32 bits; a plain int is sent with 64 bits."""

    number: int


@dataclass(frozen=True, slots=True)
class PublishedPorts:
    """Ports of the host that lead to a machine: address, host port, guest port, tcp or udp."""

    ports: tuple[tuple[str, int, int, str], ...]


type OptionValue = (
    str
    | bool
    | int
    | SmallNumber
    | Descriptor
    | PublishedPorts
    | dict[str, Descriptor]
    | list[str]
    | list[tuple[int, int, int]]
)
type Options = Mapping[str, OptionValue]


def encoded_options(options: Options) -> tuple[dict[str, Variant], list[int]]:
    """Return options as a{sv}, and the descriptors that its ``h`` values refer to by index."""
    encoded: dict[str, Variant] = {}
    descriptors: list[int] = []
    for key, value in options.items():
        match value:
            case Descriptor(number):
                encoded[key] = Variant("h", len(descriptors))
                descriptors.append(number)
            case dict():
                numbers = range(len(descriptors), len(descriptors) + len(value))
                encoded[key] = Variant("a{sh}", dict(zip(value, numbers, strict=True)))
                descriptors += [one.number for one in value.values()]
            case bool():
                encoded[key] = Variant("b", value)
            case int():
                encoded[key] = Variant("t", value)
            case SmallNumber(number):
                encoded[key] = Variant("u", number)
            case PublishedPorts(ports):
                encoded[key] = Variant("a(sqqs)", [list(one) for one in ports])
            case str():
                encoded[key] = Variant("s", value)
            case [str(), *_]:
                encoded[key] = Variant("as", value)
            case _:
                encoded[key] = Variant("a(uuu)", [list(one) for one in value])
    return encoded, descriptors


def plain_dict(values: Mapping[str, object]) -> dict[str, Any]:
    """Return an a{sv} without its variants, at any depth; keys have underscores, as in JSON."""
    return {key.replace("-", "_"): _plain(value) for key, value in values.items()}


def _plain(value: object) -> object:
    match value:
        case Variant():
            return _plain(value.value)
        case dict():
            return plain_dict(value)
        case list():
            return [_plain(inner) for inner in value]
        case _:
            return value
