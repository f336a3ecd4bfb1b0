# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls an image into a pool as a directory, for containers of libvirt-LXC."""

import dataclasses

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.id_ranges import IdRange
from virtlayer.protocol.pools import Volume
from virtlayer.protocol.programs import STAGED_DIRECTORY
from virtlayer.protocol.records import RecordKind
from virtlayer.service.blobs.prefetch import prefetched_blobs
from virtlayer.service.chain.explain import explained
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.keeper.staging import Staging
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


async def pull_directory(
    services: Services, request: WholeImageRequest, job: Job
) -> WholeImageResult:
    """Make a directory of an image.

    Raises:
        PoolUnsupported: Others could use the programs and devices of the image in that pool.
        InvalidArgument: The caller requests owners that only root could set.
        VirtlayerError: It failed; the class says why. Only blobs are left then.
    """
    return await _PullDirectory(services, request, job).run()


class _PullDirectory(WholeImagePull):
    async def run(self) -> WholeImageResult:
        await self._check_rights()
        # The staging directory first: the keeper refuses one in a pool that is not safe.
        async with (
            self.claim() as claim,
            self.services.keeper.staging(claim, self._purpose) as staging,
            self.opened() as source,
        ):
            volume, finished = await self._build(claim, staging, source)
            return WholeImageResult(
                digest=source.image.digest,
                platform=source.image.platform,
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
        """Return the host ID of the image's ID 0, if IDs are mapped for a container."""
        return self.services.settings.directory.id_base if self.request.id_map else None

    @property
    def _purpose(self) -> Purpose:
        return Purpose.CONTAINED_DIRECTORY if self.request.id_map else Purpose.DIRECTORY

    async def _check_rights(self) -> None:
        volume = self.request.volume
        if not (volume.uid_map or volume.gid_map or self.request.id_map):
            return
        if not await self.services.pools.keeper_is_root():
            raise InvalidArgument(
                'The option "id-map", the option "uid-map" and the option "gid-map" cannot be used '
                "in a session, because all files belong to you. Omit them, or use the system's "
                "virtlayerd."
            )

    async def _build(
        self, claim: Claim, staging: Staging, source: OpenImage
    ) -> tuple[Volume, FinishedDirectory]:
        placing = self.placing(claim, RecordKind.DIRECTORY, source.image, id_base=self._id_base)
        async with explained(self.services.pools, claim.pool, str(self.request.source)):
            finished = await self._apply(staging, source)
            removed = await self._customize(staging)
            devices = finished.skipped_devices + removed
            finished = dataclasses.replace(finished, skipped_devices=devices)
            await staging.flush(STAGED_DIRECTORY)
            self.job.report.set_stage(Stage.REGISTERING)
            async with placing:
                volume = await placing.place(staging, STAGED_DIRECTORY, formats=["dir"])
                return volume, finished

    async def _apply(self, staging: Staging, source: OpenImage) -> FinishedDirectory:
        image, report = source.image, self.job.report
        subject = str(self.request.source)
        async with (
            DirectoryWorker.started(staging, self.services.settings.layer) as worker,
            prefetched_blobs(image.layers, lambda layer: self.fetch(source, layer)) as prefetched,
        ):
            for fetched in prefetched:
                if not fetched.is_here:
                    report.set_stage(Stage.DOWNLOADING)
                blob = await fetched.verified()
                report.set_stage(Stage.APPLYING)
                layer = DirectoryLayer(
                    blob=blob,
                    diff_id=fetched.layer.diff_id,
                    description=f"layer {fetched.layer.digest} of {subject}",
                )
                progress = report.layer(fetched.layer.digest, fetched.layer.size)
                await worker.apply(layer, progress.add_applied)
                fetched.used.set()
                report.layer_done()
            return await worker.finish(f"The image {subject}")

    async def _customize(self, staging: Staging) -> int:
        """Customize the directory; return the number of removed devices."""
        customization = await self.request.volume.customization(0)
        if self._id_base is not None:
            ids = (IdRange(0, self._id_base, CONTAINER_IDS),)
            customization = dataclasses.replace(
                customization, uid_map=ids, gid_map=ids, contained=True
            )
        if customization:
            self.job.report.set_stage(Stage.CUSTOMIZING)
            return await customize_directory(
                staging,
                self.services.settings.layer,
                customization,
                f"The image {self.request.source}",
            )
        return 0
