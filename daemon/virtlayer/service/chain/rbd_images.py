# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes RBD images, and serves them to workers over NBD.

A layer is a clone of the snapshot of the layer below, which exists once that is written and
flushed. So an image is made when it is exported, unless what it is based on is there before.

Each image has a server of its own, which the process of the pool starts: it has the key of the
cluster. It opens the image by itself and ends with a flush.
"""

import asyncio
import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from virtlayer.errors import Internal, PoolUnavailable
from virtlayer.programs import ProgramFailed
from virtlayer.protocol.deadlines import QEMU_SECONDS
from virtlayer.protocol.programs import Kind, StartProgram
from virtlayer.service.chain.images import Connect, NewImage, Parent
from virtlayer.service.chain.nbd_socket import connected, listening
from virtlayer.service.keeper.programs import Program
from virtlayer.service.keeper.staging import Staging

_END_SECONDS = 1.0
"""For a server that has closed its connections to end."""
_NOTICE_SECONDS = 6.0
"""For the process of the pool to notice that the cluster does not answer, and to end the server: a
write of the server has failed before."""
_VOLUME = "volume"


@dataclass(slots=True)
class _Making:
    """An image of the staging place.

    Attributes:
        virtual_size: In bytes.
        parent: The image that it is a clone of; None if it is made already.
        flushed: It is complete, and has its snapshot.
    """

    virtual_size: int
    parent: NewImage | None
    flushed: asyncio.Event = field(default_factory=asyncio.Event)


class RbdImages:
    """Makes the images of one staging place; see ``Images``.

    Args:
        staging: The staging place.
    """

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._numbers = itertools.count(1)
        self._making: dict[NewImage, _Making] = {}

    async def create(
        self, virtual_size: int, parent: Parent | None, *, large: bool = False
    ) -> NewImage:
        """See ``Images``.

        Raises:
            VirtlayerError: The cluster refuses, or does not respond.
        """
        del large
        image = NewImage(f"v{next(self._numbers)}")
        match parent:
            case Parent(image=NewImage() as below):
                self._making[image] = _Making(virtual_size, below)
            case Parent(image=str(layer)):
                self._making[image] = _Making(virtual_size, None)
                await self._make(image, virtual_size, layer)
            case None:
                self._making[image] = _Making(virtual_size, None)
                await self._make(image, virtual_size, None)
        return image

    async def open_existing(self, name: str) -> NewImage:
        """See ``Images``; the server opens it."""
        return NewImage(name)

    @contextlib.asynccontextmanager
    async def exported(self, image: NewImage, *, writable: bool = True) -> AsyncIterator[Connect]:
        """See ``Images``.

        Raises:
            NoSpace: The pool is full.
            PoolUnavailable: The cluster does not respond.
            Internal: The server failed.
        """
        making = self._making.get(image)
        if making is not None and making.parent is not None:
            await self._making[making.parent].flushed.wait()
            await self._make(image, making.virtual_size, making.parent.name)
        request = StartProgram(kind=Kind.IMAGE_SERVER, image=image.name, writable=writable)
        with listening(self._staging.runtime) as (server, address):
            async with self._staging.running(request, [server.fileno()]) as program:
                # Only the program has it now, so that its end is detected.
                server.close()
                with contextlib.ExitStack() as served:
                    served.enter_context(_reported(image))
                    async with _cause_found(program):
                        yield functools.partial(connected, program, address)
                    await _ended(program)

    async def finish(self, image: NewImage) -> None:
        """See ``Images``; a server has flushed its image at its end."""

    async def flush(self, image: NewImage) -> None:
        """See ``Images``.

        Raises:
            VirtlayerError: See ``Staging.flush``.
        """
        await self._staging.flush(image.name)
        self._making[image].flushed.set()

    def let_go(self) -> None:
        """See ``Images``; each server has ended with its context."""

    async def _make(self, image: NewImage, virtual_size: int, backing: str | None) -> None:
        await self._staging.create_overlay(image.name, virtual_size, backing)


@contextlib.asynccontextmanager
async def rbd_images_in(staging: Staging) -> AsyncIterator[RbdImages]:
    """Make images in a staging place for as long as the context lasts."""
    yield RbdImages(staging)


async def create_rbd_volume(staging: Staging, virtual_size: int, parent: str) -> str:
    """Make a volume that is not written here: a clone of a layer.

    Args:
        staging: The staging place.
        virtual_size: In bytes.
        parent: The layer.

    Returns:
        Its name in the staging place, where it is flushed.

    Raises:
        VirtlayerError: The cluster refuses, or does not respond.
    """
    await staging.create_overlay(_VOLUME, virtual_size, parent)
    await staging.flush(_VOLUME)
    return _VOLUME


@contextlib.asynccontextmanager
async def _cause_found(program: Program) -> AsyncIterator[None]:
    """Report why a server has ended, instead of the failure of its client."""
    try:
        yield
    except Exception as error:  # of any client of the server; it is raised again
        patience = _NOTICE_SECONDS if isinstance(error, Internal) else _END_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await program.wait()
                raise program.failure() from error
        raise


async def _ended(program: Program) -> None:
    program.terminate()
    try:
        async with asyncio.timeout(QEMU_SECONDS):
            await program.check()
    except TimeoutError as error:
        raise PoolUnavailable(
            f"{program.name} did not end within {QEMU_SECONDS:.0f} s. Check that the cluster of "
            "the pool responds."
        ) from error


@contextlib.contextmanager
def _reported(image: NewImage) -> Iterator[None]:
    try:
        yield
    except ProgramFailed as error:
        raise Internal(f"Serving the RBD image {image.name} failed: {error}.") from error
