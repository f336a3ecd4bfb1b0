# SPDX-License-Identifier: LGPL-2.1-or-later
"""The registries that containers-registries.conf(5) may select for a reference.

skopeo alone selects the registries. This module finds all registries that it could contact, so that
skopeo gets the logins for them. It also finds whether one of them could be contacted without a
verified certificate.
"""

import functools
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtlayer.service.source.reference import Reference

_SYSTEM = (Path("/etc/containers"), Path("/usr/share/containers"))
_FILE = "registries.conf"
_DROP_INS = "registries.conf.d"
_FILES_KEPT = 32
"""The number of files whose content is cached until they change."""

type _Stamp = tuple[int, ...]
"""The attributes of a file that differ after a change."""


@dataclass(frozen=True, slots=True)
class Route:
    """The registries that may be contacted for a reference.

    Attributes:
        registries: ``host[:port]`` of each registry that may be contacted.
        insecure: Whether one of them may be contacted without a verified certificate.
    """

    registries: frozenset[str]
    insecure: bool


def route_of(reference: Reference, directories: tuple[Path, ...] | None = None) -> Route:
    """Find the registries that may be contacted for a reference.

    Args:
        reference: The image.
        directories: The directories with ``registries.conf`` and its drop-ins; None for skopeo's.
    """
    assert reference.domain is not None, "a local source is not in a registry"
    registries, insecure = {reference.domain}, False
    for table in _tables(configuration_directories() if directories is None else directories):
        if table is None:
            # skopeo reports the error in the file. Until then, insecure access is assumed.
            insecure = True
            continue
        places = [table, *_dictionaries(table.get("mirror"))]
        locations = [place for one in places if isinstance(place := one.get("location"), str)]
        prefix = table.get("prefix") or table.get("location")
        if isinstance(prefix, str) and _applies(prefix, reference.repository):
            registries.update(location.partition("/")[0] for location in locations)
            insecure = insecure or any(one.get("insecure") is True for one in places)
    return Route(frozenset(registries), insecure)


def _applies(prefix: str, repository: str) -> bool:
    """Return whether a prefix covers a repository; not only the longest prefix counts."""
    if prefix.startswith("*."):
        return repository.partition("/")[0].partition(":")[0].endswith(prefix.partition("/")[0][1:])
    return repository == prefix or repository.startswith((f"{prefix}/", f"{prefix}:"))


def _tables(directories: tuple[Path, ...]) -> Iterator[dict[str, Any] | None]:
    """Yield all ``[[registry]]`` tables; None for a file that cannot be parsed."""
    for directory in directories:
        for path in (directory / _FILE, *sorted((directory / _DROP_INS).glob("*.conf"))):
            document = document_of(path)
            if document is None:
                yield None
            else:
                yield from _dictionaries(document.get("registry"))
                yield from _first_version(document)


def document_of(path: Path) -> dict[str, Any] | None:
    """Return the content of a registries.conf(5) file; None if it cannot be parsed.

    Args:
        path: The file; a missing file counts as empty.
    """
    try:
        return _parsed(path, _stamp(path.stat()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return None


@functools.lru_cache(_FILES_KEPT)
def _parsed(path: Path, _stamp: _Stamp) -> dict[str, Any]:
    """Return the content of a file with this stamp; parsing Debian's files takes over 1 ms."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _stamp(info: os.stat_result) -> _Stamp:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _first_version(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the insecure registries of a version 1 file as tables of version 2."""
    match document:
        case {"registries": {"insecure": {"registries": list(insecure)}}}:
            for location in insecure:
                yield {"location": location, "insecure": True}


def _dictionaries(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [one for one in value if isinstance(one, dict)]


def configuration_directories() -> tuple[Path, ...]:
    """Return the directories with ``registries.conf`` that skopeo reads on this host."""
    home = os.environ.get("HOME")
    return (*_SYSTEM, Path(home) / ".config" / "containers") if home else _SYSTEM
