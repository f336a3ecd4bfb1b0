# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes qcow2 images, and serves them to the layer worker over NBD.

qemu owns the format: a qemu-storage-daemon makes the files and writes them, one process for all
images of a job. A finished image stays open there, read-only, as the backing image of the next one.

Nothing is synced: flushed data are in the file, but not on disk. The file is synced once, when it
gets its name, instead of at each flush. Large images bypass the page cache, because caching
gigabytes that are not read again costs memory, copies and write-back. A small image is written at
once when it is synced.

Measured on two cores, for each volume, with the guard of ``programs``: a qemu-img and a qemu-nbd
took 14.5 ms of processor time and 20 ms in all; of one qemu-storage-daemon for sixteen of them it
is 6 ms and 8 ms, 3 ms of them for reading commands (see ``qmp``). It starts in 5 ms, and takes
13 MB.
"""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol

from virtlayer.errors import Internal
from virtlayer.programs import ProgramFailed
from virtlayer.protocol.deadlines import QEMU_SECONDS
from virtlayer.protocol.programs import STAGED_OVERLAY, Ended
from virtlayer.service.chain.qmp import CommandFailed, Event
from virtlayer.service.chain.storage_daemon import StorageDaemon, Workplace, storage_daemon

type Connect = Callable[[], Awaitable[socket.socket]]
"""Connects to the NBD server; the socket is before the handshake, and the caller closes it."""

_NOT_SYNCED = {"no-flush": True}


@dataclass(frozen=True, slots=True)
class Parent:
    """The backing image of an overlay.

    Attributes:
        name: The bare name by which it will be found next to the image, in the pool.
        image: Its present location: an image of the same ``Images``, finished or not, or the name
            of a file, relative to their directory.
    """

    name: str
    image: "NewImage | str"


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image that ``Images`` has made or opened.

    Attributes:
        name: The name of its file in the directory.
        node: Its node name in qemu; the names of its file and backing nodes are derived from it.
        backing: The node name of its backing image; None if there is none, or if the image was not
            made here.
    """

    name: str
    node: str
    backing: str | None

    @property
    def file_node(self) -> str:
        """The node name of its file."""
        return f"f{self.node}"


class Images:
    """Makes the images of one directory; created by ``images_in``.

    Each image is made, exported once, and finished. If one fails, all are abandoned.
    """

    def __init__(self, daemon: StorageDaemon) -> None:
        self._daemon = daemon
        self._execute = daemon.monitor.execute
        self._numbers = itertools.count(1)

    async def create(
        self, virtual_size: int, parent: Parent | None, *, large: bool = False
    ) -> NewImage:
        """Make an empty image.

        Args:
            virtual_size: In bytes.
            parent: Its backing image; None if it has none.
            large: Whether much will be written to it.

        Raises:
            CommandFailed: qemu cannot make it, or cannot open its backing image.
            ProgramFailed: qemu has ended.
        """
        node = f"v{next(self._numbers)}"
        image = NewImage(node, node, _backing_node(node, parent))
        # The file first: qemu does not create the format in a missing file.
        file = {"driver": "file", "filename": image.name, "size": 0}
        await self._run_job(image.file_node, file)
        await self._write_header(image, virtual_size, parent)
        await self._open(image, parent, direct=large and self._daemon.direct)
        return image

    async def open_existing(self, name: str) -> NewImage:
        """Open a finished image to read it; its backing images are those that its header names.

        Args:
            name: The name of its file, relative to the directory.

        Raises:
            CommandFailed: qemu cannot open it or one of its backing images.
            ProgramFailed: qemu has ended.
        """
        node = f"v{next(self._numbers)}"
        file = {"driver": "file", "filename": name}
        options = {"driver": "qcow2", "node-name": node, "file": file, "read-only": True}
        await self._execute("blockdev-add", options)
        return NewImage(name, node, None)

    @contextlib.asynccontextmanager
    async def exported(self, image: NewImage, *, writable: bool = True) -> AsyncIterator[Connect]:
        """Serve an image over NBD for as long as the context lasts; one at a time.

        Clients are disconnected before the context ends. Flushed data are in the file then.

        Args:
            image: The image.
            writable: Whether clients may write to it.

        Yields:
            What connects a client.

        Raises:
            CommandFailed: qemu does not serve it.
            ProgramFailed: qemu has ended.
        """
        # The empty name is the default export of clients.
        options = {"type": "nbd", "id": image.node, "node-name": image.node, "name": ""}
        await self._execute("block-export-add", {**options, "writable": writable})
        yield self._daemon.connected
        # "hard": qemu may not have noticed yet that its client has left.
        await self._execute(
            "block-export-del",
            {"id": image.node, "mode": "hard"},
            until=Event("BLOCK_EXPORT_DELETED", {"id": image.node}),
        )

    async def finish(self, image: NewImage) -> None:
        """Write all data of an image that qemu has in memory, and make the image read-only.

        qemu then releases the lock on the file that would keep a machine from using it.

        Raises:
            CommandFailed: It could not be written.
            ProgramFailed: qemu has ended.
        """
        options = {"driver": "qcow2", "node-name": image.node, "file": image.file_node}
        if image.backing is not None:
            options["backing"] = image.backing
        await self._execute("blockdev-reopen", {"options": [{**options, "read-only": True}]})

    def let_go(self) -> None:
        """Stop the program without waiting; no image follows."""
        self._daemon.let_go()

    async def _write_header(
        self, image: NewImage, virtual_size: int, parent: Parent | None
    ) -> None:
        options = {
            "driver": "qcow2",
            "file": {"driver": "file", "filename": image.name, "cache": _NOT_SYNCED},
            "size": virtual_size,
        }
        if parent is not None:
            options |= {"backing-file": parent.name, "backing-fmt": "qcow2"}
        await self._run_job(image.node, options)

    async def _run_job(self, job_id: str, options: Mapping[str, object]) -> None:
        """Create a file, or an image in a file."""
        changes = await self._execute(
            "blockdev-create",
            {"job-id": job_id, "options": options},
            until=Event("JOB_STATUS_CHANGE", {"id": job_id, "status": "concluded"}),
        )
        # A job is queried only if it has failed, and dismissed when the program ends: each command
        # takes a good part of a millisecond.
        aborting = {"id": job_id, "status": "aborting"}
        if any(aborting.items() <= change.items() for change in changes):
            await self._raise_error_of(job_id)

    async def _raise_error_of(self, job_id: str) -> NoReturn:
        jobs = {job["id"]: job for job in await self._execute("query-jobs")}
        raise CommandFailed(jobs[job_id]["error"])

    async def _open(self, image: NewImage, parent: Parent | None, *, direct: bool) -> None:
        """Open an image for writing.

        The backing name in its header is valid only in the pool, so the backing image is specified.
        """
        file = {"driver": "file", "node-name": image.file_node, "filename": image.name}
        options: dict[str, object] = {"driver": "qcow2", "node-name": image.node, "file": file}
        options["cache"] = _NOT_SYNCED | ({"direct": True} if direct else {})
        match parent:
            case Parent(image=NewImage(node=node)):
                options["backing"] = node
            case Parent(image=str(name)):
                file = {"driver": "file", "filename": name}
                backing = {"driver": "qcow2", "node-name": image.backing, "file": file}
                # Otherwise it would be read while the image is written.
                options["backing"] = {**backing, "cache": {"direct": False}}
        await self._execute("blockdev-add", options)


class OverlayMaker(Protocol):
    """The part of ``keeper.staging.Staging`` that ``create_overlay`` uses."""

    async def create_overlay(self, file: str, size: int, backing: str | None) -> Ended:
        """Make an empty overlay with qemu-img, and flush it."""


async def create_overlay(staging: OverlayMaker, virtual_size: int, parent: str) -> None:
    """Make an empty overlay that is not written here: qemu-img is faster than ``Images``.

    Args:
        staging: The staging directory where it becomes ``STAGED_OVERLAY``, and is flushed.
        virtual_size: In bytes.
        parent: The name of its backing layer, which is not opened.

    Raises:
        ProgramFailed: It could not be made.
        Internal: It was not made within ``QEMU_SECONDS``.
    """
    try:
        async with asyncio.timeout(QEMU_SECONDS):
            ended = await staging.create_overlay(STAGED_OVERLAY, virtual_size, parent)
    except TimeoutError as error:
        raise Internal(
            f"qemu-img did not end within {QEMU_SECONDS:.0f} s. Check that the storage of the pool "
            "responds."
        ) from error
    if ended.status != 0:
        raise ProgramFailed("qemu-img", ended.status, ended.stderr)


@contextlib.asynccontextmanager
async def images_in(staging: Workplace) -> AsyncIterator[Images]:
    """Make images in a staging directory for as long as the context lasts."""
    async with storage_daemon(staging) as daemon:
        yield Images(daemon)


def _backing_node(node: str, parent: Parent | None) -> str | None:
    match parent:
        case None:
            return None
        case Parent(image=NewImage(node=below)):
            return below
        case Parent():
            return f"b{node}"
