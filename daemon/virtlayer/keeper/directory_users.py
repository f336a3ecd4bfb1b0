# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the domain that uses a directory of a pool as a file system."""

import asyncio
from pathlib import Path
from xml.etree import ElementTree

from virtlayer.errors import InUse
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.disks import all_descriptions
from virtlayer.protocol.pools import Pool


async def check_directory_unused(hypervisor: Hypervisor, pool: Pool, name: str) -> None:
    """Check that no domain uses a directory, or a part of it, as a file system.

    Raises:
        InUse: A domain does.
    """
    texts = await all_descriptions(hypervisor)
    user = await asyncio.to_thread(_directory_user, texts, pool.path / name)
    if user is not None:
        raise InUse(
            f'The directory "{name}" in the pool "{pool.name}" is used by {user}. Delete or change '
            "that first."
        )


def _directory_user(texts: list[tuple[str, str]], directory: Path) -> str | None:
    directory = directory.resolve()
    for user, text in texts:
        root = ElementTree.fromstring(text)  # noqa: S314 -- libvirt wrote it
        for device in root.iter("filesystem"):
            for source in device.findall("source"):
                place = source.get("dir")
                if place and Path(place).resolve().is_relative_to(directory):
                    return user
    return None
