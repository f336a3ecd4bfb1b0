# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls that make one volume of a whole image, without a chain: a directory, or a machine's disk.

Each pull makes a new volume, under a name that is free. It can be changed and deleted like any
other volume, and it is not listed as an image of the pool.
"""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from virtlayer.errors import InvalidArgument, PoolUnsupported
from virtlayer.protocol.names import ImageName, PoolName
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.jobs.job import Job
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.operations.belonging import Belonging, belonging_of
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.placing import RecordedPlacing
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.volume_on_image import check_name_is_free
from virtlayer.service.records.values import VolumeRecord
from virtlayer.service.source.access import Access
from virtlayer.service.source.image import Image, Layer
from virtlayer.service.source.platform import Platform
from virtlayer.service.source.reference import Reference
from virtlayer.service.source.skopeo import BlobStream, OpenImage, open_image


class Format(StrEnum):
    """The format of the volume that a pull makes."""

    CHAIN = "qcow2"
    DIRECTORY = "dir"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeImageRequest:
    """A request to pull a whole image.

    Attributes:
        source: The image.
        pool: The name of the pool.
        format: A directory, or the disk in the image.
        volume: The volume; for a disk, only its name.
        name: The name of the image; None for a name from the source.
        platform: The platform of the image; None for this host's.
        access: Credentials and trust.
        cache: Whether downloaded blobs are kept.
        id_map: Whether a directory gets the IDs of a user namespace, instead of the image's.

    Raises:
        InvalidArgument: The format does not support these options of the volume.
    """

    source: Reference
    pool: PoolName
    format: Format
    volume: NewVolume
    name: ImageName | None = None
    platform: Platform | None = None
    access: Access = field(default_factory=Access)
    cache: bool = True
    id_map: bool = False

    @property
    def image_name(self) -> ImageName:
        """What the image is called."""
        return self.source.short_name if self.name is None else self.name

    def __post_init__(self) -> None:
        if self.id_map and (self.volume.uid_map or self.volume.gid_map):
            raise InvalidArgument(
                'The option "id-map" excludes the option "uid-map" and the option "gid-map".'
            )
        if self.volume.size is not None or self.volume.grow_filesystem:
            raise InvalidArgument(
                f'With the option "format={self.format}", the option "size", the option '
                '"volume-size" and the option "grow-filesystem" cannot be used: a directory has no '
                "size, and a disk image has its own."
            )
        if self.format is Format.DISK and self.volume != NewVolume(name=self.volume.name):
            raise InvalidArgument(
                'With the option "format=disk", the disk image is not changed. Omit the options '
                "that customize a volume."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeImageResult:
    """The result of a pull.

    Attributes:
        digest: The digest of the image's manifest.
        platform: The platform of the image.
        name: The name of the image.
        volume: The volume.
        path: The path of the volume.
        format: The format of the volume: dir, qcow2 or raw.
        size: The virtual size of a disk, in bytes; 0 for a directory.
        layers: How many layers the image has.
        bytes_downloaded: Compressed bytes that came from the source.
        squashed: Whether everything in a directory belongs to the daemon's user, instead of the
            owners in the image, and setuid bits are dropped.
        skipped_devices: Devices that could not be made in a directory.
        skipped_attributes: Extended attributes that could not be set there.
    """

    digest: str
    platform: Platform
    name: str
    volume: str
    path: Path
    format: str
    layers: int
    bytes_downloaded: int
    size: int = 0
    squashed: bool = False
    skipped_devices: int = 0
    skipped_attributes: int = 0


class WholeImagePull:
    """The common steps of the pulls of both formats.

    Args:
        services: The daemon's parts.
        request: What to pull.
        job: The job that pulls it.
    """

    def __init__(self, services: Services, request: WholeImageRequest, job: Job) -> None:
        self.services = services
        self.request = request
        self.job = job
        self._downloaded: set[Layer] = set()
        self._belonging: Belonging | None = None

    @property
    def name(self) -> str:
        """What the image is called."""
        return self.request.image_name

    @property
    def bytes_downloaded(self) -> int:
        """Compressed bytes that came from the source."""
        return sum(layer.size for layer in self._downloaded)

    @contextlib.asynccontextmanager
    async def claim(self) -> AsyncIterator[Claim]:
        """A claim on the volume's name in the pool, where no volume has it.

        Raises:
            VolumeExists: The name is not free.
            VirtlayerError: The pool does not exist or cannot be used.
        """
        services, name = self.services, self.request.volume.name
        pool = await services.pools.get(self.request.pool)
        self._refuse_rbd(pool)
        await services.sweeper.visit(pool)
        await services.records.synchronize(pool)
        async with services.claims.claimed(pool, [name]) as claim:
            await check_name_is_free(services, pool, name)
            yield claim

    def _refuse_rbd(self, pool: Pool) -> None:
        if not pool.is_rbd:
            return
        if self.request.format is Format.DIRECTORY:
            raise PoolUnsupported(
                f'The pool "{pool.name}" has RBD images, and no directories. Pull with the option '
                '"format=dir" into a pool of type dir, fs or netfs.'
            )
        raise PoolUnsupported(
            f'The option "format=disk" does not work in the pool "{pool.name}", which has RBD '
            "images. Pull the disk into a pool of type dir, fs or netfs. To have it in the "
            f'cluster, copy it: "qemu-img convert -O raw FILE rbd:{pool.path}/NAME".'
        )

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[OpenImage]:
        """The image, whose layers are all to be read."""
        async with open_image(
            self.request.source,
            self.request.access,
            self.request.platform,
            self.services.workspace,
            artifacts=self.request.format is Format.DISK,
        ) as source:
            self._belonging = belonging = belonging_of(
                self.services, source.obtained, self.job, self.request.pool
            )
            if not source.image.artifact_type:
                await belonging.opened(source.image)
            layers = source.image.layers
            self.job.report.set_total(sum(layer.size for layer in layers), len(layers))
            yield source

    def fetch(self, source: OpenImage, layer: Layer) -> AbstractAsyncContextManager[GrowingBlob]:
        """Lend the blob of a layer, which may still be arriving."""

        def download() -> AbstractAsyncContextManager[BlobStream]:
            self._downloaded.add(layer)
            return source.blob(layer)

        assert self._belonging is not None, "the image is open"
        return self.services.cache.fetch(
            layer,
            download,
            self._belonging,
            keep=self.request.cache,
            on_bytes=self.job.report.layer(layer.digest, layer.size).add_downloaded,
        )

    def placing(
        self, claim: Claim, kind: RecordKind, image: Image, *, id_base: int | None = None
    ) -> RecordedPlacing:
        """Return what places the volume, with a record of the image that it was made of.

        Args:
            claim: The claim of the job.
            kind: The kind of the volume.
            image: The image.
            id_base: The host ID of the image's ID 0, if IDs were mapped for a container.
        """
        record = VolumeRecord(
            kind=kind,
            name=self.request.volume.name,
            image=self.name,
            source=str(self.request.source),
            digest=image.digest,
            config=image.config.raw,
            id_base=id_base,
            pulled_by=frozenset({self.job.owner}),
        )
        return RecordedPlacing(self.services.records, claim.pool, record)
