# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that applies layers to file systems.

It starts with one descriptor, a socket to the daemon as its standard input. A request comes with
a connection to the NBD server of the volume and the blob, which may still be arriving, and maybe
with memory that has its last bytes.
``service.workers.layer`` is the service's end and describes the messages.
"""

from __future__ import annotations

import functools
import socket
import sys
from typing import Any

from virtlayer.worker.apply import LayerApplication, path_in_question
from virtlayer.worker.archive.archive import Archive, Entry
from virtlayer.worker.blob_reader import BlobReader, GrowingBlobReader, RecentBytes
from virtlayer.worker.disk.search import is_disk
from virtlayer.worker.ext4.filesystem import Ext4Filesystem
from virtlayer.worker.ext4.refusal import STOPS, refusal
from virtlayer.worker.ext4.reused_filesystem import KeptFilesystem, Step
from virtlayer.worker.identity import has_identity
from virtlayer.worker.reading import LayerReading
from virtlayer.worker.sandbox.enter import Limits, enter_sandbox
from virtlayer.worker.serving import obey_cpu_limit, serve


def main() -> None:
    """Serve requests until the daemon closes its end."""
    memory, cpu_seconds = map(int, sys.argv[1:])
    obey_cpu_limit()
    # Everything is imported and loaded by now: no file can be opened from here on.
    enter_sandbox(Limits(memory=memory, cpu_seconds=cpu_seconds))
    serve(functools.partial(_answer, KeptFilesystem()))


def _answer(
    kept: KeptFilesystem, request: dict[str, Any], descriptors: list[int], control: socket.socket
) -> dict[str, Any]:
    device = None if request["continues"] else socket.socket(fileno=descriptors.pop())
    file, announcements, *more = descriptors
    recent = RecentBytes(*more) if request["recent"] else None
    blob = GrowingBlobReader(file, announcements, recent)
    return _apply(kept, request, blob, device, LayerReading(request, control))


def _apply(
    kept: KeptFilesystem,
    request: dict[str, Any],
    blob: BlobReader,
    device: socket.socket | None,
    layer: LayerReading,
) -> dict[str, Any]:
    """Apply a layer; return the reply to the daemon.

    Raises:
        Refused: It cannot be applied.
    """
    disks = 0
    identity = None

    def use(entry: Entry, archive: Archive) -> None:
        nonlocal disks
        disks += is_disk(entry)
        application.apply(entry, archive)

    step = Step(base=request["base"], result=request["result"], last=request["last"])
    opened = functools.partial(_opened, request["format_size"], request["diff_id"])
    try:
        with kept.used(device, step, opened) as filesystem:
            try:
                application = LayerApplication(filesystem, layer.limits)
                entries = layer.read(
                    blob,
                    use,
                    lambda names: filesystem.expect(map(path_in_question, names)),
                )
                if step.last:
                    identity = has_identity(filesystem)
                    filesystem.finish()
            except STOPS as error:
                # While the file system is open, because the refusal says how full it is.
                raise refusal(error, layer.name, filesystem) from error
            return {
                "entries": entries,
                "disks": disks,
                "free_bytes": filesystem.free_bytes,
                "identity": identity,
            }
    except STOPS as error:
        raise refusal(error, layer.name, None) from error


def _opened(format_size: int | None, identity: str, device: socket.socket) -> Ext4Filesystem:
    if format_size is None:
        return Ext4Filesystem.opened(device)
    return Ext4Filesystem.formatted(device, format_size, identity)


if __name__ == "__main__":
    main()
