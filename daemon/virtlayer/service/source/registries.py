# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where containers-registries.conf(5) may lead a reference.

skopeo alone decides what it asks. This says what it could ask at most: which registries, so that
they get their logins, and whether one of them could do so without proof of its identity.
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
"""Files whose content is kept until they change."""

type _Stamp = tuple[int, ...]
"""What is different when a file was changed."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a reference may lead.

    Attributes:
        registries: ``host[:port]`` of each registry that may be asked.
        insecure: Whether one of them may be reached without a verified certificate.
    """

    registries: frozenset[str]
    insecure: bool


def route_of(reference: Reference, directories: tuple[Path, ...] | None = None) -> Route:
    """Find where a reference to a registry may lead.

    Args:
        reference: The image.
        directories: Those with ``registries.conf`` and its drop-ins; None for skopeo's.
    """
    assert reference.domain is not None, "a local source is not in a registry"
    registries, insecure = {reference.domain}, False
    for table in _tables(configuration_directories() if directories is None else directories):
        if table is None:
            # skopeo reports what is wrong with the file. Until then, the worst is assumed.
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
    """Whether a prefix covers a repository; any that does counts, not the longest alone."""
    if prefix.startswith("*."):
        return repository.partition("/")[0].partition(":")[0].endswith(prefix.partition("/")[0][1:])
    return repository == prefix or repository.startswith((f"{prefix}/", f"{prefix}:"))


def _tables(directories: tuple[Path, ...]) -> Iterator[dict[str, Any] | None]:
    """All ``[[registry]]`` tables; None for a file that cannot be understood."""
    for directory in directories:
        for path in (directory / _FILE, *sorted((directory / _DROP_INS).glob("*.conf"))):
            document = document_of(path)
            if document is None:
                yield None
            else:
                yield from _dictionaries(document.get("registry"))
                yield from _first_version(document)


def document_of(path: Path) -> dict[str, Any] | None:
    """What a file of registries.conf(5) contains; None if it cannot be understood.

    Args:
        path: The file; one that does not exist is empty.
    """
    try:
        return _parsed(path, _stamp(path.stat()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return None


@functools.lru_cache(_FILES_KEPT)
def _parsed(path: Path, _stamp: _Stamp) -> dict[str, Any]:
    """The content of a file with this stamp; parsing Debian's files takes more than 1 ms."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _stamp(info: os.stat_result) -> _Stamp:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _first_version(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The insecure registries of the file's first version, as tables of the second."""
    match document:
        case {"registries": {"insecure": {"registries": list(insecure)}}}:
            for location in insecure:
                yield {"location": location, "insecure": True}


def _dictionaries(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [one for one in value if isinstance(one, dict)]


def configuration_directories() -> tuple[Path, ...]:
    """The directories with ``registries.conf`` that skopeo reads here."""
    home = os.environ.get("HOME")
    return (*_SYSTEM, Path(home) / ".config" / "containers") if home else _SYSTEM
