# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that finds the disk in an image's layers and copies it to one open file.

It starts with a socket to the daemon as its standard input, and a descriptor of that file.
``service.workers.disk`` is the service's end and describes the messages.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from typing import Any

from virtlayer.worker.blob_reader import BlobReader
from virtlayer.worker.disk.search import DiskSearch, NotADisk
from virtlayer.worker.problems import quoted
from virtlayer.worker.reading import LayerReading
from virtlayer.worker.refusal import (
    INTERNAL,
    INVALID,
    MALFORMED,
    NO_SPACE,
    STOPS,
    TOO_LARGE,
    Refused,
    refusal,
)
from virtlayer.worker.sandbox.enter import Limits, enter_sandbox
from virtlayer.worker.serving import obey_cpu_limit, serve

_FILE_SIZE = 2**63 - 1
_SHOWN = 10


def main() -> None:
    """Serve requests until the daemon closes its end."""
    memory, cpu_seconds, output = map(int, sys.argv[1:])
    obey_cpu_limit()
    # Everything is imported and loaded by now: no file can be opened from here on.
    limits = Limits(memory=memory, cpu_seconds=cpu_seconds, file_size=_FILE_SIZE)
    enter_sandbox(limits, more=[("ftruncate",)])
    search = DiskSearch(output)

    def answer(
        request: dict[str, Any], descriptors: list[int], control: socket.socket
    ) -> dict[str, Any]:
        if not descriptors:
            return _outcome(search)
        layer = LayerReading(request, control)
        if request["diff_id"] is None:
            return _copied(search, layer, BlobReader(descriptors[0]))
        search.begin_layer()
        return _searched(search, layer, BlobReader(descriptors[0]))

    serve(answer)


def _copied(search: DiskSearch, layer: LayerReading, blob: BlobReader) -> dict[str, Any]:
    with _refusals(), layer.stream(blob) as stream:
        try:
            search.copy_whole(stream)
        except NotADisk:
            problem = "is neither a qcow2 nor a raw disk image with a partition table"
            raise Refused(MALFORMED, problem) from None
        return {}


def _searched(search: DiskSearch, layer: LayerReading, blob: BlobReader) -> dict[str, Any]:
    with _refusals():
        return {"entries": layer.read(blob, search.use)}


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn errors while a disk is copied into the reply to the daemon."""
    try:
        yield
    except STOPS as error:
        raise refusal(error) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Refused(NO_SPACE, "cannot be written: the storage pool is full") from error
        if error.errno == errno.EFBIG:
            problem = (
                "has a disk image that is larger than the maximum file size of the pool's file "
                "system"
            )
            raise Refused(TOO_LARGE, problem) from error
        raise Refused(INTERNAL, f"cannot be written: {error.strerror}") from error


def _outcome(search: DiskSearch) -> dict[str, Any]:
    match search.disks:
        case []:
            raise Refused(
                INVALID, "has no disk image: no file in /disk ends in .qcow2, .img or .raw"
            )
        case [name]:
            return {"name": name.decode(errors="backslashreplace"), "size": search.size}
        case names:
            shown = ", ".join(quoted(name) for name in sorted(names)[:_SHOWN])
            raise Refused(INVALID, f"has {len(names)} disk images in /disk, not one: {shown}")


if __name__ == "__main__":
    main()
