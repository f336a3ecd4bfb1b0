# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of images without a registry, such as ``debian:13``, resolved as podman resolves them.

containers-registries.conf(5) has aliases for short names, and registries to search. With neither, a
short name refers to docker.io. ``docker://`` references are never short names: skopeo also resolves
such a reference without a registry to docker.io. short-name-aliases.conf, where podman records the
choices of its users, is not read.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from virtlayer.errors import InvalidReference
from virtlayer.service.source.reference import Reference, is_short_name, parse_reference
from virtlayer.service.source.registries import configuration_directories, document_of


async def resolved_reference(text: str) -> Reference:
    """Parse a reference, and resolve it if it is a short name.

    Raises:
        InvalidReference: It is invalid, or a short name is ambiguous between several registries.
    """
    if is_short_name(text):
        return await asyncio.to_thread(parse_resolved, text)
    return parse_reference(text)


def parse_resolved(text: str, directories: tuple[Path, ...] | None = None) -> Reference:
    """Parse a reference, and resolve it if it is a short name; reads files.

    Args:
        text: The reference.
        directories: The directories with ``registries.conf``, by ascending priority; None for
            skopeo's.

    Raises:
        InvalidReference: It is invalid, or a short name is ambiguous between several registries.
    """
    if not is_short_name(text):
        return parse_reference(text)
    name = text.partition("@")[0].partition(":")[0]
    aliases: dict[str, str] = {}
    registries: list[str] = []
    for document in _documents(configuration_directories() if directories is None else directories):
        found = document.get("aliases")
        if isinstance(found, dict):
            aliases |= {key: value for key, value in found.items() if isinstance(value, str)}
        searched = document.get("unqualified-search-registries")
        if isinstance(searched, list):
            registries = [one for one in searched if isinstance(one, str)]
    if alias := aliases.get(name):
        return parse_reference(f"docker://{alias}{text.removeprefix(name)}")
    parse_reference(text)
    if len(registries) > 1:
        candidates = ", ".join(f"docker://{registry}/{text}" for registry in registries)
        raise InvalidReference(
            f'The short name "{text}" is ambiguous (unqualified-search-registries in '
            f"registries.conf). Use one of {candidates}."
        )
    return parse_reference(f"docker://{registries[0]}/{text}" if registries else text)


def _documents(directories: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    """Yield the content of one registries.conf and all drop-ins, by ascending priority."""
    mains = [directory / "registries.conf" for directory in reversed(directories)]
    drop_ins = [
        path
        for directory in directories
        for path in sorted((directory / "registries.conf.d").glob("*.conf"))
    ]
    for path in (*[one for one in mains if one.exists()][:1], *drop_ins):
        # skopeo reports an error in a file.
        if document := document_of(path):
            yield document
