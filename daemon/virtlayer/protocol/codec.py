# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts frozen dataclasses to JSON and back; invalid input is refused on arrival.

The type of a field defines its valid values: ``Annotated`` types include a check. An
object with a field that is missing, unknown or of another type is refused as a whole.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from virtlayer.protocol.packets import Malformed

type _Reader = Callable[[Any], object]
_PLAIN = frozenset({type(None), bool, int, str})


def encode(value: object) -> Any:
    """Convert a value to JSON types."""
    # First, because a reply can have a hundred thousand of them.
    if type(value) in _PLAIN:
        return value
    match value:
        case int() | str():
            return value
        case Path():
            return str(value)
        case tuple():
            return [encode(one) for one in value]
        case frozenset():
            return [encode(one) for one in sorted(value)]
        case Mapping():
            return {key: encode(one) for key, one in value.items()}
    kind: Any = type(value)
    return {name: encode(getattr(value, name)) for name in _names(kind)}


@functools.cache
def _names(kind: Any) -> tuple[str, ...]:
    assert dataclasses.is_dataclass(kind), f"{kind} cannot be sent"
    return tuple(field.name for field in dataclasses.fields(kind))


def decode[T](kind: type[T], data: object) -> T:
    """Convert received JSON to a value.

    Args:
        kind: A dataclass whose fields are bool, int, str, Path, enums, tuples, frozensets, mappings
            of str, dataclasses, optional, or one of these with checks (``Annotated``).
        data: The parsed JSON.

    Raises:
        Malformed: It does not fit.
    """
    return typing.cast(T, _read_object(kind, data))


def _read_object(kind: Any, data: object) -> object:
    readers = _fields(kind)
    if not isinstance(data, dict) or data.keys() != readers.keys():
        raise Malformed(f"not the fields of {kind.__name__}")
    return kind(**{name: read(data[name]) for name, read in readers.items()})


@functools.cache
def _fields(kind: Any) -> dict[str, _Reader]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: _reader(hints[field.name]) for field in dataclasses.fields(kind)}


def _reader(hint: Any) -> _Reader:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _checking(_reader(arguments[0]), hint.__metadata__)
    if origin in (types.UnionType, typing.Union):
        [inner] = (one for one in arguments if one is not types.NoneType)
        return _optional(_reader(inner))
    if origin is tuple:
        return _many(_reader(arguments[0]))
    if origin is frozenset:
        return _set(_reader(arguments[0]))
    if origin is Mapping:
        return _mapping(_reader(arguments[1]))
    if hint is Path:
        return lambda data: Path(typing.cast(str, _exactly(str, data)))
    if hint in (bool, int, str):
        return functools.partial(_exactly, hint)
    if issubclass(hint, StrEnum):
        return functools.partial(_member, hint)
    return functools.partial(_read_object, hint)


def _exactly(kind: type, data: object) -> object:
    # A bool is an int to isinstance().
    if type(data) is not kind:
        raise Malformed(f"not of type {kind.__name__}")
    return data


def _member(kind: type[StrEnum], data: object) -> object:
    try:
        return kind(typing.cast(str, _exactly(str, data)))
    except ValueError as error:
        raise Malformed(f"not one of {kind.__name__}") from error


def _checking(read: _Reader, checks: tuple[Callable[[Any], None], ...]) -> _Reader:
    def checked(data: object) -> object:
        value = read(data)
        for check in checks:
            check(value)
        return value

    return checked


def _optional(read: _Reader) -> _Reader:
    return lambda data: None if data is None else read(data)


def _many(read: _Reader) -> _Reader:
    return lambda data: tuple(read(one) for one in typing.cast(list[object], _exactly(list, data)))


def _set(read: _Reader) -> _Reader:
    many = _many(read)
    return lambda data: frozenset(typing.cast(tuple[object, ...], many(data)))


def _mapping(read: _Reader) -> _Reader:
    def mapping(data: object) -> object:
        table = typing.cast(dict[str, object], _exactly(dict, data))
        return {key: read(value) for key, value in table.items()}

    return mapping
