# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls the disk in an image (a containerDisk of KubeVirt) into a pool.

The disk is a file in /disk of the image's file system, or the one file of an artifact.
"""

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.pools import Volume
from virtlayer.protocol.programs import STAGED_DISK
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
from virtlayer.service.workers.disk import DiskWorker, FoundDisk
from virtlayer.service.workers.disk_inspection import inspect_disk

_SEEN_AS = {"qcow2": ("qcow2",), "raw": ("raw", "iso")}
"""Formats that libvirt may report for a disk: it calls some raw disks iso."""


async def pull_disk(services: Services, request: WholeImageRequest, job: Job) -> WholeImageResult:
    """Make a volume of the disk in an image.

    Raises:
        InvalidArgument: The image has no disk, or more than one.
        MalformedLayer: The disk refers to other files, or is not a disk image.
        VirtlayerError: It failed; the class says why. Only blobs are left then.
    """
    return await _PullDisk(services, request, job).run()


class _PullDisk(WholeImagePull):
    async def run(self) -> WholeImageResult:
        async with self.claim() as claim, self.opened() as source:
            volume, disk_format = await self._build(claim, source)
            return WholeImageResult(
                digest=source.image.digest,
                platform=source.image.platform,
                name=self.name,
                volume=volume.name,
                path=volume.path,
                format=disk_format,
                layers=len(source.image.layers),
                size=volume.capacity,
                bytes_downloaded=self.bytes_downloaded,
            )

    async def _build(self, claim: Claim, source: OpenImage) -> tuple[Volume, str]:
        keeper = self.services.keeper
        async with (
            keeper.staging(claim, Purpose.DISK) as staging,
            explained(keeper.pools, claim.pool, str(self.request.source)),
        ):
            found = await self._copy(staging, source)
            disk_format = await self._inspect(staging, found)
            await staging.flush(STAGED_DISK)
            self.job.report.set_stage(Stage.REGISTERING)
            async with self.placing(claim, RecordKind.DISK, source.image) as placing:
                formats = _SEEN_AS[disk_format]
                return await placing.place(staging, STAGED_DISK, formats=formats), disk_format

    async def _copy(self, staging: Staging, source: OpenImage) -> FoundDisk:
        image, report = source.image, self.job.report
        subject = str(self.request.source)
        if image.artifact_type and len(image.layers) != 1:
            raise InvalidArgument(
                f"{subject} is an artifact ({image.artifact_type}) of {len(image.layers)} files. "
                "virtlayer can only make a volume of an artifact whose one file is a disk image."
            )
        from_the_top = image.layers[::-1]
        async with (
            DiskWorker.started(staging, self.services.settings.layer) as worker,
            prefetched_blobs(from_the_top, lambda layer: self.fetch(source, layer)) as prefetched,
        ):
            for fetched in prefetched:
                if not fetched.is_here:
                    report.set_stage(Stage.DOWNLOADING)
                blob = await fetched.verified()
                report.set_stage(Stage.APPLYING)
                description = f"layer {fetched.layer.digest} of {subject}"
                progress = report.layer(fetched.layer.digest, fetched.layer.size)
                if image.artifact_type:
                    await worker.copy_whole(blob, f"The file of {subject}", progress.add_applied)
                else:
                    diff_id = fetched.layer.diff_id
                    await worker.search(blob, diff_id, description, progress.add_applied)
                fetched.used.set()
                report.layer_done()
            return await worker.found(f"The image {subject}")

    async def _inspect(self, staging: Staging, found: FoundDisk) -> str:
        place = f" /disk/{found.name}" if found.name else ""
        subject = f"The disk{place} of {self.request.source}"
        return await inspect_disk(staging, subject)
