# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that applies layers: the only one that reads what strangers wrote.

It starts with one descriptor, a socket to the daemon as its standard input. A request comes with
two more: the blob, and a connection to the NBD server of the volume. ``session`` is the daemon's
end and describes the messages.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from virtlayer.layer.apply import LayerApplication, TooLarge
from virtlayer.layer.archive import Archive, BadArchive
from virtlayer.layer.ext4.directory import DirectoryTooLarge
from virtlayer.layer.ext4.filesystem import LINK_LIMIT, Ext4Filesystem, TooManyLinks
from virtlayer.layer.ext4.library import (
    AttributesTooLarge,
    DeviceFull,
    Ext4Error,
    FilesystemFull,
)
from virtlayer.layer.sandbox.enter import Limits, enter_sandbox
from virtlayer.layer.stream import (
    BrokenStream,
    LayerStream,
    StreamTooLong,
    decompressor_for,
)

MESSAGE_LIMIT = 64 * 1024
_REPORT_INTERVAL = 0.05
_OUT_OF_MEMORY = "needs more memory than the settings allow (layer.memory-limit)"


class Refused(Exception):
    """The layer cannot be applied.

    Args:
        error: The name of the error in ``virtlayer.errors``.
        problem: What is wrong, as the second half of a sentence about the layer.
    """

    def __init__(self, error: str, problem: str) -> None:
        super().__init__(problem)
        self.error = error
        self.problem = problem


def main() -> None:
    """Serve requests until the daemon closes its end."""
    memory, cpu_seconds = map(int, sys.argv[1:])
    # Everything is imported and loaded by now: no file can be opened from here on.
    enter_sandbox(Limits(memory=memory, cpu_seconds=cpu_seconds))
    control = socket.socket(fileno=0)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_LIMIT, 2)
        if not message:
            return
        request = json.loads(message)
        blob, device = descriptors
        try:
            reply: dict[str, Any] = {
                "done": _serve(request, blob, socket.socket(fileno=device), control)
            }
        except Refused as refused:
            reply = {"error": refused.error, "problem": refused.problem}
        except MemoryError:
            reply = {"error": "LayerTooLarge", "problem": _OUT_OF_MEMORY}
        finally:
            os.close(blob)
        control.send(json.dumps(reply).encode())


def _serve(
    request: dict[str, Any], blob: int, device: socket.socket, control: socket.socket
) -> dict[str, int]:
    algorithm, expected = request["diff_id"].split(":", 1)
    decompressor = decompressor_for(request["media_type"])
    with (
        _opened(request, device) as filesystem,
        LayerStream(blob, decompressor, algorithm, request["bytes_limit"]) as stream,
    ):
        entries = _apply(filesystem, stream, request["entries_limit"], control)
        if stream.hexdigest() != expected:
            raise Refused(
                "DigestMismatch",
                f"unpacks to {algorithm}:{stream.hexdigest()}, "
                f"but the image's configuration promises {request['diff_id']}",
            )
        try:
            filesystem.finish()
        except (Ext4Error, DirectoryTooLarge) as error:
            raise _refusal(error, b"", filesystem) from error
        return {"entries": entries, "free_bytes": filesystem.free_bytes}


def _opened(request: dict[str, Any], device: socket.socket) -> Ext4Filesystem:
    try:
        if request["format_size"] is None:
            return Ext4Filesystem.opened(device)
        return Ext4Filesystem.formatted(device, request["format_size"], request["diff_id"])
    except DeviceFull as error:
        raise Refused("NoSpace", "cannot be written: the storage pool is full") from error
    except Ext4Error as error:
        raise Refused("Internal", f"has no file system to go to: {error}") from error


def _apply(
    filesystem: Ext4Filesystem, stream: LayerStream, limit: int, control: socket.socket
) -> int:
    """Apply every entry; the number of them."""
    archive = Archive(stream)
    application = LayerApplication(filesystem)
    count = 0
    name = b""
    report = _reports(stream, control)
    try:
        for entry in archive.entries():
            name = entry.name
            count += 1
            if count > limit:
                raise Refused("LayerTooLarge", f"has more than {limit} entries")
            application.apply(entry, archive)
            if not count & 63:
                next(report)
        stream.drain()
    except BadArchive as error:
        raise Refused("MalformedLayer", _about(error.problem, error.name or name)) from error
    except (BrokenStream, StreamTooLong, TooLarge, TooManyLinks, AttributesTooLarge) as error:
        raise _too_large(error, name) from error
    except Ext4Error as error:
        raise _refusal(error, name, filesystem) from error
    next(report)
    return count


def _reports(stream: LayerStream, control: socket.socket) -> Iterator[None]:
    """Each step tells the daemon how far the blob has been read, if that is news."""
    last, told = 0.0, 0
    while True:
        now = time.monotonic()
        if now - last >= _REPORT_INTERVAL and stream.consumed != told:
            last, told = now, stream.consumed
            control.send(json.dumps({"consumed": told}).encode())
        yield


def _about(problem: str, name: bytes) -> str:
    shown = name.decode(errors="backslashreplace")
    shown = shown if len(shown) <= 300 else f"{shown[:150]}…{shown[-140:]}"
    return f"has an entry “{shown}” that cannot be applied: {problem}" if shown else problem


def _too_large(error: Exception, name: bytes) -> Refused:
    match error:
        case BrokenStream():
            return Refused("MalformedLayer", f"is damaged: {error}")
        case StreamTooLong():
            return Refused("LayerTooLarge", "unpacks to more bytes than the settings allow")
        case TooLarge():
            return Refused("LayerTooLarge", _about(error.problem, error.name))
        case TooManyLinks():
            problem = f"a file with more than {LINK_LIMIT} names is more than ext4 can count"
            return Refused("LayerTooLarge", _about(problem, name))
        case _:
            problem = "its extended attributes do not fit into an ext4 inode and one block"
            return Refused("LayerTooLarge", _about(problem, name))


def _refusal(
    error: Ext4Error | DirectoryTooLarge, name: bytes, filesystem: Ext4Filesystem
) -> Refused:
    match error:
        case DirectoryTooLarge():
            return Refused("LayerTooLarge", "has a directory with more names than ext4 can index")
        case DeviceFull():
            return Refused("NoSpace", "cannot be written: the storage pool is full")
        case FilesystemFull():
            return Refused(
                "NoSpace",
                f"does not fit: of the {filesystem.size} bytes of the image's file system "
                f"{filesystem.free_bytes} bytes and {filesystem.free_inodes} inodes are free, "
                f"and the entry “{name.decode(errors='backslashreplace')}” needs more",
            )
        case Ext4Error(code=errno.ENOMEM):
            return Refused("LayerTooLarge", _OUT_OF_MEMORY)
        case _:
            return Refused("Internal", _about(f"libext2fs says “{error}”", name))


if __name__ == "__main__":
    main()
