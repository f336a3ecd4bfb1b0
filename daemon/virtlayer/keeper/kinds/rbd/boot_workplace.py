# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where a worker writes a kernel or an initrd for an RBD pool: to a local file without a name."""

import contextlib
from collections.abc import AsyncIterator, Sequence

from virtlayer.errors import Internal
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.kinds.rbd.boot_files import BootFiles
from virtlayer.keeper.kinds.rbd.claims import RbdClaim
from virtlayer.keeper.kinds.rbd.workplace import RbdWorkplace, staging_place
from virtlayer.keeper.programs import Place, StartedProgram, running
from virtlayer.protocol.boot_names import digest_in_name
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.programs import STAGED_DISK, Ended, StartProgram


class BootWorkplace:
    """A file that a worker writes, which becomes an image with a kernel or an initrd.

    Args:
        boot_files: The boot files of this host.
        claim: The claim of the job.
        images: The staging place there.
        output: The file that the worker writes.
    """

    def __init__(
        self,
        boot_files: BootFiles,
        claim: RbdClaim,
        images: RbdWorkplace,
        output: OwnedDescriptor,
    ) -> None:
        self._boot_files = boot_files
        self._claim = claim
        self._images = images
        self._output = output
        self._digest: str | None = None

    @property
    def direct(self) -> bool:
        """Workers write boot files through the page cache."""
        return False

    @property
    def flushes_overlays(self) -> bool:
        """There are no overlays."""
        return False

    @contextlib.asynccontextmanager
    async def running(
        self, request: StartProgram, descriptors: Sequence[int]
    ) -> AsyncIterator[StartedProgram]:
        """Run a worker that writes the file, for as long as the context lasts."""
        place = Place(Purpose.BOOT, self._output, self._output)
        async with running(request, descriptors, place) as program:
            yield program

    async def create_overlay(self, file: str, size: int, backing: str | None) -> Ended:
        """Refuse an overlay."""
        raise Internal(f"A kernel or an initrd is not an overlay: {file}, {size}, {backing}.")

    async def link(self, names: tuple[str, ...]) -> str:
        """Refuse a chain."""
        raise Internal(f"A kernel or an initrd needs no layers: {len(names)} were named.")

    async def flush(self, file: str) -> None:
        """Store what the worker has written as an unfinished image.

        Raises:
            VirtlayerError: It cannot be stored.
        """
        if file != STAGED_DISK or self._digest is not None:
            raise Internal(f"The file {file} was not written, or was flushed before.")
        claim, number = self._claim, self._images.number
        self._digest = await self._boot_files.store(
            claim.pool, claim.process, number, file, self._output
        )
        await self._images.flush(file)

    async def place(self, file: str, name: str, record: int | None) -> Placed:
        """Give it its name, if that has its digest.

        Raises:
            Internal: It was not flushed, or has another digest.
            VirtlayerError: It cannot be placed.
        """
        if self._digest is None or digest_in_name(name) != self._digest:
            raise Internal(
                f"The volume {name} was not added to the pool: it is not a kernel or an initrd "
                "with that digest."
            )
        return await self._images.place(file, name, record)

    def close(self) -> None:
        """Close the file."""
        self._output.close()
        self._images.close()


@contextlib.asynccontextmanager
async def boot_place(claim: RbdClaim, boot_files: BootFiles) -> AsyncIterator[BootWorkplace]:
    """Have a place for a kernel or an initrd, for as long as the context lasts.

    Args:
        claim: The claim of the job.
        boot_files: The boot files of this host.

    Raises:
        VirtlayerError: The process of the pool refuses, or there can be no local file.
    """
    async with staging_place(claim, Purpose.BOOT) as images:
        yield BootWorkplace(boot_files, claim, images, await boot_files.new_file())
