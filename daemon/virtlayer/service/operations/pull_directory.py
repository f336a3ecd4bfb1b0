# SPDX-License-Identifier: LGPL-2.1-or-later
"""Brings an image into a pool as a directory, for containers of libvirt-LXC."""

import os

from virtlayer.errors import InvalidArgument
from virtlayer.keeper.beneath import make_directory, opened
from virtlayer.keeper.directories import flush_directory, place_directory
from virtlayer.keeper.safe_places import check_place
from virtlayer.keeper.staging import staging_directory
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
                await check_place(pool, others_may_enter=False)
            async with self.opened() as source:
                volume, finished = await self._build(pool, source)
                await self.remember(source.image, volume)
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

    def _check_rights(self) -> None:
        volume = self.request.volume
        if _is_squashed() and (volume.uid_map or volume.gid_map):
            raise InvalidArgument(
                "uid-map and gid-map make no sense for a directory of yours: everything in it "
                "belongs to you. Leave them out, or let the virtlayerd of the system make it."
            )

    async def _build(self, pool: Pool, source: OpenImage) -> tuple[Volume, FinishedDirectory]:
        pools = self.services.pools
        async with (
            staging_directory(pools, pool, self.job.id) as staging,
            explained(pools, pool, str(self.request.source)),
        ):
            with opened(make_directory(staging.descriptor, _STAGED)) as directory:
                finished = await self._apply(directory, source)
                await self._customize(directory)
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

    async def _customize(self, directory: int) -> None:
        customization = await self.request.volume.customization(0)
        if customization:
            self.job.report.set_stage(Stage.CUSTOMIZING)
            await customize_directory(
                self.services.settings.layer,
                directory,
                customization,
                f"The image {self.request.source}",
            )


def _is_squashed() -> bool:
    return os.geteuid() != 0
