# SPDX-License-Identifier: LGPL-2.1-or-later
"""The variables that ``virtlayer run`` gives to a machine, by the rules of podman-run(1).

``NAME`` alone takes the value from the caller's environment, or is left out if it is not set there.
``PREFIX*`` takes all variables of the caller whose names begin so.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from virtlayer.client.unreadable import unreadable
from virtlayer.errors import InvalidArgument

_LIMIT = 1024 * 1024
"""Limit in bytes of a file of variables."""
_BLANKS = " \t"


def environment_of(
    files: Iterable[Path], given: Iterable[str], own: Mapping[str, str]
) -> list[str]:
    """Return the variables of the options ``--env-file`` and ``-e``, the later over the earlier.

    Args:
        files: Files with a variable a line; empty lines and those that begin with # are ignored.
        given: The variables of the command line, which come after those of the files.
        own: The caller's variables.

    Returns:
        NAME=VALUE, each name once.

    Raises:
        InvalidArgument: A file cannot be read, or a variable has no name.
    """
    found: dict[str, str] = {}
    for path in files:
        for number, line in enumerate(_lines(path), start=1):
            text = line.lstrip(_BLANKS)
            if text and not text.startswith("#"):
                found |= _variables(text, own, f"Line {number} of --env-file {path}")
    for text in given:
        if text:  # as podman
            found |= _variables(text, own, "A variable of -e")
    return [f"{name}={value}" for name, value in found.items()]


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise unreadable(f"--env-file {path}", error, InvalidArgument) from error
    if len(content) > _LIMIT:
        raise InvalidArgument(f"--env-file {path} is too large: the limit is 1 MiB.")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"--env-file {path} is not a text file in UTF-8.") from None
    # Not splitlines(), which splits at more characters than podman does.
    return (line.removesuffix("\r") for line in text.split("\n"))


def _variables(text: str, own: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the variables that a text stands for."""
    name, equals, value = text.partition("=")
    name = name.lstrip(_BLANKS)
    if not name:
        # Without the text, which may contain a secret.
        raise InvalidArgument(f"{where} has no name. Write NAME=VALUE, or NAME.")
    if equals:
        return {name: value}
    if name.endswith("*"):
        return {one: own[one] for one in own if one.startswith(name[:-1])}
    return {name: own[name]} if name in own else {}
