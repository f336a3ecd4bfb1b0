# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a kernel or an initrd into the open file that the process has for it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

from virtlayer.protocol.kernel_header import HEAD_READ, kernel_problem, kernel_version
from virtlayer.worker.ext4.refusal import STOPS, refusal
from virtlayer.worker.kernel.unusable import Incomplete, Unusable
from virtlayer.worker.refusal import INTERNAL, INVALID, NO_KERNEL, NO_SPACE, Refused

_INITRD_SIGNATURES = (
    *(b"070701", b"070702"),
    *(b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b"\x04\x22\x4d\x18"),
    *(b"BZh", b"\x5d\0\0", b"\x89LZO"),
)
"""How an archive begins, plain or compressed in a way that the kernel knows."""


class CannotBoot(Exception):
    """A file is not a kernel or an initrd; the text is the end of a sentence about it."""


def write_kernel(output: int, pieces: Iterator[bytes], machine: str) -> dict[str, Any]:
    """Write a kernel; return the reply to the daemon.

    Args:
        output: A descriptor of the file, which is emptied first.
        pieces: The content of the kernel.
        machine: The architecture of this host.

    Raises:
        CannotBoot: It is not a kernel.
        OSError: It cannot be written.
    """
    first = next(pieces, b"")
    if problem := kernel_problem(first[:HEAD_READ], machine):
        raise CannotBoot(problem)
    version = kernel_version(first[:HEAD_READ])
    return {**_written(output, first, pieces), "version": version}


def write_initrd(output: int, pieces: Iterator[bytes]) -> dict[str, Any]:
    """Write an initrd; see ``write_kernel``."""
    first = next(pieces, b"")
    if not first.startswith(_INITRD_SIGNATURES):
        raise CannotBoot("it is not an initramfs (a cpio archive, plain or compressed)")
    return _written(output, first, pieces)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn errors into the reply to the daemon."""
    try:
        yield
    except Incomplete as error:
        raise Refused(NO_KERNEL, error.problem) from error
    except Unusable as error:
        raise Refused(INVALID, error.problem) from error
    except STOPS as error:
        raise refusal(error, b"", None) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = "has a kernel or an initrd that cannot be written: the storage pool is full"
            raise Refused(NO_SPACE, problem) from error
        problem = f"has a kernel or an initrd that cannot be written: {error.strerror}"
        raise Refused(INTERNAL, problem) from error


def _written(output: int, first: bytes, rest: Iterable[bytes]) -> dict[str, Any]:
    os.ftruncate(output, 0)
    os.lseek(output, 0, os.SEEK_SET)
    digest, size = hashlib.sha256(), 0
    for piece in _joined(first, rest):
        digest.update(piece)
        size += len(piece)
        left = memoryview(piece)
        while left:
            left = left[os.write(output, left) :]
    return {"sha256": digest.hexdigest(), "size": size}


def _joined(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
