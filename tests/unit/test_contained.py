# SPDX-License-Identifier: LGPL-2.1-or-later
"""Content that a directory open to other users of the host must not have."""

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.directories import open_directory
from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.kinds.directory.contained import check_contained

pytestmark = pytest.mark.root
_BASE = 1_048_576


def program(mode: int, uid: int, gid: int, *, capability: bytes = b"") -> Callable[[Path], None]:
    def make(place: Path) -> None:
        (place / "below").mkdir()
        path = place / "below" / "program"
        path.touch()
        os.chown(path, uid, gid)
        path.chmod(mode)
        if capability:
            os.setxattr(path, "security.capability", capability)

    return make


def capability(root: int) -> bytes:
    return struct.pack("<IIIIII", 0x03000001, 1 << 13, 0, 0, 0, root)


def device(place: Path) -> None:
    os.mknod(place / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))


@pytest.mark.parametrize(
    "make",
    [
        program(0o4755, 0, 0),
        program(0o2755, 0, 0),
        # Another user of the host is no better.
        program(0o4755, 1000, _BASE),
        program(0o2755, _BASE, 1000),
        program(
            0o755, _BASE, _BASE, capability=struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
        ),
        # Its owner can make it a program: that keeps the capabilities.
        program(0o600, 1000, 1000, capability=struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)),
        program(0o755, _BASE, _BASE, capability=capability(1000)),
        device,
    ],
)
async def test_root_effective_on_the_host_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path)
    with open_directory(tmp_path) as directory, pytest.raises(PoolUnsupported):
        await check_contained(directory)


@pytest.mark.parametrize(
    "make",
    [
        program(0o6755, _BASE, _BASE),
        program(0o755, 0, 0),
        program(0o755, _BASE, _BASE, capability=capability(_BASE)),
    ],
)
async def test_root_effective_only_in_the_container_is_allowed(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path)
    with open_directory(tmp_path) as directory:
        await check_contained(directory)
