# SPDX-License-Identifier: LGPL-2.1-or-later
"""Brings an image into a pool as a directory, for containers of libvirt-LXC."""

import dataclasses
import os

from virtlayer.errors import InvalidArgument
from virtlayer.keeper.beneath import make_directory, opened
from virtlayer.keeper.directories import flush_directory, place_directory
from virtlayer.keeper.safe_places import check_place
from virtlayer.keeper.staging import staging_directory
from virtlayer.protocol.id_ranges import IdRange
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.chain.explain import explained
from virtlayer.service.chain.prefetch import lent
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.whole_image import (
    WholeImagePull,
    WholeImageRequest,
    WholeImageResult,
)
from virtlayer.service.source.skopeo import OpenImage
from virtlayer.service.workers.directory import (
    DirectoryLayer,
    DirectoryWorker,
    FinishedDirectory,
    customize_directory,
)
from virtlayer.settings import CONTAINER_IDS

_STAGED = "root"


async def pull_directory(
    services: Services, request: WholeImageRequest, job: Job
) -> WholeImageResult:
    """Make a directory of an image.

    Raises:
        PoolUnsupported: Others could use the programs and devices of the image in that pool.
        InvalidArgument: The caller asks for owners that only root could give.
        VirtlayerError: It did not work; which one says why. Nothing is left then but blobs.
    """
    return await _PullDirectory(services, request, job).run()


class _PullDirectory(WholeImagePull):
    async def run(self) -> WholeImageResult:
        self._check_rights()
        async with self.pool() as pool:
            if not _is_squashed():
                await check_place(pool, others_may_enter=self.request.id_map)
            async with self.opened() as source:
                volume, finished = await self._build(pool, source)
                await self.remember(source.image, volume, id_base=self._id_base)
                return WholeImageResult(
                    digest=source.image.digest,
                    name=self.name,
                    volume=volume.name,
                    path=volume.path,
                    format=volume.format,
                    layers=len(source.image.layers),
                    bytes_downloaded=self.bytes_downloaded,
                    squashed=finished.squashed,
                    skipped_devices=finished.skipped_devices,
                    skipped_attributes=finished.skipped_attributes,
                )

    @property
    def _id_base(self) -> int | None:
        """What the image's id 0 becomes, if its ids are mapped for a container."""
        return self.services.settings.directory.id_base if self.request.id_map else None

    def _check_rights(self) -> None:
        volume = self.request.volume
        if _is_squashed() and (volume.uid_map or volume.gid_map or self.request.id_map):
            raise InvalidArgument(
                "The options id-map, uid-map and gid-map are not for a directory of yours: "
                "everything in it belongs to you. Leave them out, or let the virtlayerd of the "
                "system make it."
            )

    async def _build(self, pool: Pool, source: OpenImage) -> tuple[Volume, FinishedDirectory]:
        pools = self.services.pools
        async with (
            staging_directory(pools, pool, self.job.id) as staging,
            explained(pools, pool, str(self.request.source)),
        ):
            with opened(make_directory(staging.descriptor, _STAGED)) as directory:
                finished = await self._apply(directory, source)
                removed = await self._customize(directory)
                devices = finished.skipped_devices + removed
                finished = dataclasses.replace(finished, skipped_devices=devices)
                await flush_directory(directory)
                self.job.report.set_stage(Stage.REGISTERING)
                name = self.request.volume.name
                placed = await place_directory(pool, staging, _STAGED, directory, name)
            return await self.registered(pool, placed, ["dir"]), finished

    async def _apply(self, directory: int, source: OpenImage) -> FinishedDirectory:
        image, report = source.image, self.job.report
        subject = str(self.request.source)
        async with (
            DirectoryWorker.started(self.services.settings.layer, directory) as worker,
            lent(image.layers, lambda layer: self.fetch(source, layer)) as loans,
        ):
            for loan in loans:
                if not loan.is_here:
                    report.set_stage(Stage.DOWNLOADING)
                blob = await loan.verified()
                report.set_stage(Stage.APPLYING)
                layer = DirectoryLayer(
                    blob=blob,
                    diff_id=loan.layer.diff_id,
                    description=f"layer {loan.layer.digest} of {subject}",
                )
                await worker.apply(layer, report.add_applied)
                loan.over.set()
                report.layer_done()
            return await worker.finish(f"The image {subject}")

    async def _customize(self, directory: int) -> int:
        """Change what is in the directory; return how many devices were removed."""
        customization = await self.request.volume.customization(0)
        if self._id_base is not None:
            ids = (IdRange(0, self._id_base, CONTAINER_IDS),)
            customization = dataclasses.replace(
                customization, uid_map=ids, gid_map=ids, contained=True
            )
        if customization:
            self.job.report.set_stage(Stage.CUSTOMIZING)
            return await customize_directory(
                self.services.settings.layer,
                directory,
                customization,
                f"The image {self.request.source}",
            )
        return 0


def _is_squashed() -> bool:
    return os.geteuid() != 0
