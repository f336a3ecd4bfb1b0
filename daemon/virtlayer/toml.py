# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads TOML files as dataclasses; invalid content is refused with its file and line.

An unknown key is refused as well, because a misspelt limit would have no effect. Keys are written
with hyphens: ``size-limit`` is the field ``size_limit``.
"""

import dataclasses
import tomllib
import types
import typing
from pathlib import Path

from virtlayer.errors import InvalidArgument


class Misfit(Exception):
    """A value that is invalid; what a dataclass of ``read_toml`` raises when it is made.

    Args:
        key: As it is written in the file.
        problem: A sentence that says what is wrong, and which values are valid.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


def read_toml[T](path: Path, kind: type[T]) -> T:
    """Read a file.

    Args:
        path: The file.
        kind: A dataclass. Fields may be int, bool, str, Path, dataclasses, and optional.

    Raises:
        FileNotFoundError: There is no such file.
        InvalidArgument: It cannot be read, is not TOML, or is invalid.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"Cannot read {path}: {error}.") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path} is not valid TOML: {error}.") from error
    try:
        return _from_table(kind, table, "")
    except Misfit as misfit:
        line = _line_of(text, misfit.key)
        raise InvalidArgument(f"{path}{line}: {misfit}") from misfit


def _from_table[T](kind: type[T], table: dict[str, object], prefix: str) -> T:
    assert dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in hints or "_" in key:
            known = ", ".join(sorted(hint.replace("_", "-") for hint in hints))
            raise Misfit(key, f'unknown key "{prefix}{key}". Known: {known}.')
        values[name] = _converted(hints[name], value, f"{prefix}{key}", key)
    for field in dataclasses.fields(kind):
        optional = (field.default, field.default_factory) != (dataclasses.MISSING,) * 2
        if field.name not in values and not optional:
            key = field.name.replace("_", "-")
            raise Misfit(key, f'the key "{prefix}{key}" is missing.')
    return kind(**values)


def _converted(hint: object, value: object, place: str, key: str) -> object:
    if isinstance(hint, types.UnionType):
        [hint] = (one for one in typing.get_args(hint) if one is not types.NoneType)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise Misfit(key, f'"{place}" must be a table.')
        return _from_table(hint, value, f"{place}.")
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise Misfit(key, f'"{place}" must be a whole number, 0 or more.')
        return value
    if hint is bool:
        if not isinstance(value, bool):
            raise Misfit(key, f'"{place}" must be true or false.')
        return value
    if hint is str:
        if not isinstance(value, str) or not value:
            raise Misfit(key, f'"{place}" must be a string in quotes.')
        return value
    assert hint is Path, f"no conversion for {place}: {hint}"
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise Misfit(key, f'"{place}" must be an absolute path.')
    return Path(value)


def _line_of(text: str, key: str) -> str:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.split("=")[0].strip(" []\t").split(".")[-1] == key:
            return f", line {number}"
    return ""
