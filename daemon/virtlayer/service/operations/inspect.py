# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inspects an image at its source; nothing is stored."""

from dataclasses import dataclass

from virtlayer.service.operations.services import Services
from virtlayer.service.source.access import Access
from virtlayer.service.source.container_disk import says_container_disk
from virtlayer.service.source.image import Image
from virtlayer.service.source.platform import Platform
from virtlayer.service.source.reference import Reference
from virtlayer.service.source.skopeo import open_image


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """A request to inspect an image.

    Attributes:
        source: The image.
        platform: Which of its platforms; None for this host's.
        access: Credentials and trust.
    """

    source: Reference
    platform: Platform | None
    access: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The description of an image whose layers are not downloaded.

    Attributes:
        reference: The source in its full form.
        digest: The digest of the manifest.
        image_id: The digest of the config.
        platforms: The platforms that the source has, as ``os/architecture[/variant]``.
        os: The operating system of the inspected image.
        architecture: The architecture of the inspected image.
        layers: Digest, diff id and compressed bytes of each, base first.
        size: Compressed bytes of all layers.
        config: The OCI config, JSON.
        policy_scope: The scope of the signature policy that applies to the image.
        unsigned_accepted: Whether it accepts unsigned images.
        container_disk: Whether the config says that the image carries a machine's disk, or it is an
            artifact of one file, which may be one.
    """

    reference: str
    digest: str
    image_id: str
    platforms: tuple[str, ...]
    os: str
    architecture: str
    layers: tuple[tuple[str, str, int], ...]
    size: int
    config: str
    policy_scope: str
    unsigned_accepted: bool
    container_disk: bool


async def inspect(services: Services, request: InspectRequest) -> Inspection:
    """Read the manifest and config of an image.

    Raises:
        VirtlayerError: The image cannot be read; the class says why.
    """
    async with open_image(
        request.source,
        request.access,
        request.platform,
        services.workspace,
        artifacts=True,
    ) as source:
        image = source.image
        platforms = await source.platforms()
        return Inspection(
            reference=str(request.source),
            digest=image.digest,
            image_id=image.image_id,
            platforms=tuple(str(platform) for platform in platforms),
            os=image.platform.os,
            architecture=image.platform.architecture,
            layers=tuple((layer.digest, layer.diff_id, layer.size) for layer in image.layers),
            size=sum(layer.size for layer in image.layers),
            config=image.config.raw,
            policy_scope=source.policy.name,
            unsigned_accepted=source.policy.accepts_unsigned,
            container_disk=_carries_disk(image),
        )


def _carries_disk(image: Image) -> bool:
    if image.artifact_type:
        return len(image.layers) == 1
    return says_container_disk(image.config.raw)
