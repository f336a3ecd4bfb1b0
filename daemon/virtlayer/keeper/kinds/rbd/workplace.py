# SPDX-License-Identifier: LGPL-2.1-or-later
"""A staging place in the process of an RBD pool: from an empty image to one with a name."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal, PoolUnsupported
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.kinds.purposes import RECORD_KINDS
from virtlayer.keeper.kinds.rbd.claims import RbdClaim, released
from virtlayer.keeper.kinds.rbd.images import image_number, image_path
from virtlayer.keeper.kinds.rbd.servers import serving
from virtlayer.keeper.programs import StartedProgram
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.programs import Ended, Kind, StartProgram
from virtlayer.protocol.records import ListedRecord, record_file

_PURPOSES = (Purpose.LAYERS, Purpose.VOLUME, Purpose.BOOT)


class RbdWorkplace:
    """A staging place.

    Attributes:
        number: Its number in the process of the pool.
    """

    def __init__(self, claim: RbdClaim, purpose: Purpose, number: int) -> None:
        self.number = number
        self._process = claim.process
        self._pool = claim.pool
        self._purpose = purpose

    @property
    def direct(self) -> bool:
        """There are no files."""
        return False

    @property
    def flushes_overlays(self) -> bool:
        """A new image is empty, and is written by a server."""
        return False

    def running(
        self, request: StartProgram, descriptors: Sequence[int]
    ) -> AbstractAsyncContextManager[StartedProgram]:
        """Serve an image for as long as the context lasts.

        Raises:
            Internal: It is another program.
        """
        if request.kind is not Kind.IMAGE_SERVER:
            raise Internal(f"The program {request.kind} cannot run in this staging place.")
        return serving(self._process, self.number, request, descriptors)

    async def create_overlay(self, file: str, size: int, backing: str | None) -> Ended:
        """Make a clone of a layer, or an empty image."""
        await self._process.ask(rbd.CREATE_IMAGE, rbd.CreateImage(self.number, file, size, backing))
        return Ended(0, "")

    async def link(self, names: tuple[str, ...]) -> str:
        """The process finds layers by their names: the last one's."""
        if not names:
            raise Internal("No layer was named.")
        return names[-1]

    async def flush(self, file: str) -> None:
        """Finish an image: nobody writes to it, and all of it is in the cluster."""
        await self._process.ask(rbd.FLUSH_IMAGE, rbd.StagedImage(self.number, file))

    async def place(self, file: str, name: str, record: int | None) -> Placed:
        """Give a finished image its name."""
        its = None if record is None else record_file(RECORD_KINDS[self._purpose], name)
        request = rbd.PlaceImage(self.number, file, name, its)
        descriptors = [] if record is None else [record]
        placing = self._process.ask(rbd.PLACE_IMAGE, request, descriptors)
        placed = await to_completion(placing)
        listed = None
        if its is not None and placed.record is not None:
            listed = ListedRecord(its, placed.record)
        identity = self._process.opened.pool_id, image_number(placed.image)
        return Placed(image_path(self._pool, name), placed.ours, identity, listed)

    def close(self) -> None:
        """Nothing is open."""


@contextlib.asynccontextmanager
async def staging_place(claim: RbdClaim, purpose: Purpose) -> AsyncIterator[RbdWorkplace]:
    """Have a staging place for as long as the context lasts.

    Args:
        claim: The claim of the job.
        purpose: What is made there.

    Raises:
        PoolUnsupported: There cannot be such a thing in an RBD pool.
        VirtlayerError: The process of the pool refuses.
    """
    if purpose not in _PURPOSES:
        raise _unsupported(claim.pool, purpose)
    process = claim.process

    async def stage() -> int:
        return (await process.ask(rbd.STAGE, rbd.Stage(claim.number, purpose))).staging

    async def remove(number: int) -> None:
        await released(process, number)

    number = await process.made(stage(), remove)
    process.hold()
    try:
        yield RbdWorkplace(claim, purpose, number)
    finally:
        try:
            await to_completion(remove(number))
        finally:
            process.let_go()


def _unsupported(pool: Pool, purpose: Purpose) -> PoolUnsupported:
    what = "disk images" if purpose is Purpose.DISK else "directories"
    return PoolUnsupported(
        f'The pool "{pool.name}" is of type {pool.kind}, which cannot hold {what}. Use a pool of '
        "type dir, fs or netfs."
    )
