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
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol

from virtlayer.errors import Internal
from virtlayer.programs import ProgramFailed
from virtlayer.protocol.deadlines import QEMU_SECONDS
from virtlayer.protocol.programs import STAGED_OVERLAY, Ended
from virtlayer.service.chain.images import Connect, NewImage, Parent
from virtlayer.service.chain.qmp import CommandFailed, Event
from virtlayer.service.chain.storage_daemon import StorageDaemon, Workplace, storage_daemon

_NOT_SYNCED = {"no-flush": True}


@dataclass(frozen=True, slots=True)
class _Node:
    """What QEMU calls an image.

    Attributes:
        name: Its node name; the names of its file and backing nodes are derived from it.
        backing: The node name of its backing image; None if there is none, or if the image was not
            made here.
    """

    name: str
    backing: str | None

    @property
    def file(self) -> str:
        """The node name of its file."""
        return f"f{self.name}"


class Qcow2Images:
    """Makes the images of one directory; created by ``qcow2_images_in``. See ``Images``.

    A parent that is not of these images is named relative to the directory.
    """

    def __init__(self, staging: Workplace, daemon: StorageDaemon) -> None:
        self._staging = staging
        self._daemon = daemon
        self._execute = daemon.monitor.execute
        self._numbers = itertools.count(1)
        self._nodes: dict[NewImage, _Node] = {}

    async def create(
        self, virtual_size: int, parent: Parent | None, *, large: bool = False
    ) -> NewImage:
        """See ``Images``; it is made at once.

        Raises:
            CommandFailed: qemu cannot make it, or cannot open its backing image.
            ProgramFailed: qemu has ended.
        """
        image = NewImage(f"v{next(self._numbers)}")
        node = _Node(image.name, self._backing_node(image.name, parent))
        self._nodes[image] = node
        # The file first: qemu does not create the format in a missing file.
        await self._run_job(node.file, {"driver": "file", "filename": image.name, "size": 0})
        await self._write_header(image, virtual_size, parent)
        await self._open(image, parent, direct=large and self._daemon.direct)
        return image

    async def open_existing(self, name: str) -> NewImage:
        """See ``Images``; its backing images are those that its header names.

        Raises:
            CommandFailed: qemu cannot open it or one of its backing images.
            ProgramFailed: qemu has ended.
        """
        image = NewImage(name)
        node = _Node(f"v{next(self._numbers)}", None)
        self._nodes[image] = node
        file = {"driver": "file", "filename": name}
        options = {"driver": "qcow2", "node-name": node.name, "file": file, "read-only": True}
        await self._execute("blockdev-add", options)
        return image

    @contextlib.asynccontextmanager
    async def exported(self, image: NewImage, *, writable: bool = True) -> AsyncIterator[Connect]:
        """See ``Images``.

        Raises:
            CommandFailed: qemu does not serve it.
            ProgramFailed: qemu has ended.
        """
        # The empty name is the default export of clients.
        node = self._nodes[image].name
        options = {"type": "nbd", "id": node, "node-name": node, "name": ""}
        await self._execute("block-export-add", {**options, "writable": writable})
        yield self._daemon.connected
        # "hard": qemu may not have noticed yet that its client has left.
        await self._execute(
            "block-export-del",
            {"id": node, "mode": "hard"},
            until=Event("BLOCK_EXPORT_DELETED", {"id": node}),
        )

    async def finish(self, image: NewImage) -> None:
        """Write all data of an image that qemu has in memory, and make the image read-only.

        qemu then releases the lock on the file that would keep a machine from using it.

        Raises:
            CommandFailed: It could not be written.
            ProgramFailed: qemu has ended.
        """
        node = self._nodes[image]
        options = {"driver": "qcow2", "node-name": node.name, "file": node.file}
        if node.backing is not None:
            options["backing"] = node.backing
        await self._execute("blockdev-reopen", {"options": [{**options, "read-only": True}]})

    async def flush(self, image: NewImage) -> None:
        """See ``Images``.

        Raises:
            VirtlayerError: See ``Staging.flush``.
        """
        await self._staging.flush(image.name)

    def let_go(self) -> None:
        """See ``Images``."""
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
        await self._run_job(self._nodes[image].name, options)

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
        node = self._nodes[image]
        file = {"driver": "file", "node-name": node.file, "filename": image.name}
        options: dict[str, object] = {"driver": "qcow2", "node-name": node.name, "file": file}
        options["cache"] = _NOT_SYNCED | ({"direct": True} if direct else {})
        match parent:
            case Parent(image=NewImage()):
                options["backing"] = node.backing
            case Parent(image=str(name)):
                file = {"driver": "file", "filename": name}
                backing = {"driver": "qcow2", "node-name": node.backing, "file": file}
                # Otherwise it would be read while the image is written.
                options["backing"] = {**backing, "cache": {"direct": False}}
        await self._execute("blockdev-add", options)

    def _backing_node(self, node: str, parent: Parent | None) -> str | None:
        match parent:
            case None:
                return None
            case Parent(image=NewImage() as below):
                return self._nodes[below].name
            case Parent():
                return f"b{node}"


class OverlayMaker(Protocol):
    """The part of ``keeper.staging.Staging`` that ``create_overlay`` uses."""

    async def create_overlay(self, file: str, size: int, backing: str | None) -> Ended:
        """Make an empty overlay with qemu-img, and flush it."""


async def create_qcow2_overlay(staging: OverlayMaker, virtual_size: int, parent: str) -> str:
    """Make an empty overlay that is not written here: qemu-img is faster than ``Images``.

    Args:
        staging: The staging directory.
        virtual_size: In bytes.
        parent: The name of its backing layer, which is not opened.

    Returns:
        Its name in the directory, where it is flushed.

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
    return STAGED_OVERLAY


@contextlib.asynccontextmanager
async def qcow2_images_in(staging: Workplace) -> AsyncIterator[Qcow2Images]:
    """Make images in a staging directory for as long as the context lasts."""
    async with storage_daemon(staging) as daemon:
        yield Qcow2Images(staging, daemon)
