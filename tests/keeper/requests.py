# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests of a service, hostile or not, and files of its programs in a staging directory."""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.keeper.conftest import TestPool
from tests.support.pool_content import OWN
from tests.support.raw_keeper import RawKeeper, Reply


def claim_of(keeper: RawKeeper, pool: TestPool, *names: str) -> int:
    """A claim whose lock the test does not keep."""
    number: int = keeper.get("claim", pool=pool.uuid, claim=None, names=names, build=[])["claim"]
    return number


def delete(keeper: RawKeeper, pool: TestPool, *names: str) -> Any:
    """Ask for a deletion, with the lock of the pool; what became of it."""
    lock = keeper.get("lock", pool=pool.uuid)["lock"]
    done = keeper.get("delete", pool=pool.uuid, lock=lock, names=names)
    keeper.get("release", number=lock, failed=False)
    return done


def staged(keeper: RawKeeper, pool: TestPool, purpose: str = "layers") -> int:
    """A staging directory of a claim of its own."""
    claim = claim_of(keeper, pool)
    number: int = keeper.get("stage", pool=pool.uuid, claim=claim, purpose=purpose)["staging"]
    return number


def directory_of(pool: TestPool) -> Path:
    """The one staging directory of a pool."""
    [path] = (pool.path / OWN / "staging").iterdir()
    return path


def qcow2(backing: bytes = b"", *, backing_format: bytes = b"qcow2", flags: int = 0) -> bytes:
    """The header of a qcow2 of version 3 (qemu's docs/interop/qcow2.txt)."""
    extension = struct.pack(">II8s", 0xE2792ACA, len(backing_format), backing_format)
    extension = extension if backing else b""
    at = 104 + len(extension) + 8 if backing else 0
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        *(b"QFI\xfb", 3, at, len(backing), 16, 2**26, 0, 0, 0, 0, 0, 0, 0, flags, 0, 0, 4, 104),
    )
    return header + extension + bytes(8) + backing


def write(pool: TestPool, name: str, content: bytes = qcow2()) -> Path:
    """Make a file in the staging directory as the program that works there does."""
    directory = directory_of(pool)
    path = directory / name
    path.write_bytes(content)
    os.chown(path, directory.stat().st_uid, -1)
    return path


def start(
    keeper: RawKeeper, kind: str, *descriptors: int, staging: int | None = None, **more: Any
) -> Reply:
    """Ask for a program."""
    request: dict[str, Any] = {
        "memory": 2**30,
        "cpu_seconds": 60,
        "image": None,
        "writable": False,
        **more,
    }
    return keeper.ask("start-program", descriptors, kind=kind, staging=staging, **request)


@contextlib.contextmanager
def pairs(*kinds: int) -> Iterator[list[int]]:
    """The far ends of socket pairs."""
    with contextlib.ExitStack() as stack:
        ends = []
        for kind in kinds:
            for end in socket.socketpair(socket.AF_UNIX, kind):
                stack.enter_context(end)
            ends.append(end.fileno())
        yield ends
