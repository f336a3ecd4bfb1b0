# SPDX-License-Identifier: LGPL-2.1-or-later
"""Assigns layers to volumes.

Every layer has a volume of its own, up to the depth limit: libvirt 11.3 does not start a machine on
a chain of more than 25 images. Of a deeper image, the first layers keep theirs, which other images
share, and so do the last ones, which the image's next version replaces while those below stay. The
layers between share one.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from virtlayer.errors import InvalidArgument, MalformedLayer
from virtlayer.service.chain.identity import geometry_id, volume_id, volume_name
from virtlayer.service.source.image import Layer

_LAST_SHARE = 4
"""One in this number of volumes of a full chain is for a layer at its end: four of sixteen."""


@dataclass(frozen=True, slots=True)
class PlannedVolume:
    """A volume of a chain.

    Attributes:
        below: The id of the volume below; of the first one, ``identity.geometry_id``.
        volume_id: Its id from ``identity.volume_id``.
        layers: The layers in it, base first; at most one volume has more than one.
        blobs: The digests of the blobs that the volume is built from, in the same order.
        parent: The name of the volume that it is an overlay of; None for the first one.
        name: The name of the volume.
    """

    below: str
    volume_id: str
    layers: tuple[Layer, ...]
    blobs: tuple[str, ...]
    parent: str | None
    name: str

    @property
    def is_recompressed(self) -> bool:
        """Whether the volume is built from other blobs than the image's, with the same content.

        Such a volume can be reused, but not built from the image's blobs.
        """
        return self.blobs != tuple(layer.digest for layer in self.layers)


def plan_chain(
    layers: Sequence[Layer],
    virtual_size: int,
    depth_limit: int,
    blobs: Sequence[str] | None = None,
    *,
    suffix: str = ".qcow2",
) -> tuple[PlannedVolume, ...]:
    """Plan the volumes of an image, base first.

    Args:
        layers: The layers of the image, base first.
        virtual_size: Of the volumes, in bytes.
        depth_limit: The most volumes in the chain.
        blobs: For each layer the digest of the blob that its volume is built from; None for the
            image's blobs.
        suffix: What the names of the volumes end with.

    Raises:
        MalformedLayer: The image has no layers.
        InvalidArgument: The depth limit is less than 1.
    """
    if depth_limit < 1:
        raise InvalidArgument("storage.depth-limit must be 1 or more.")
    if not layers:
        raise MalformedLayer("The image has no layers, so it has no file system.")
    volumes: list[PlannedVolume] = []
    below = geometry_id(virtual_size)
    rest = iter([layer.digest for layer in layers] if blobs is None else blobs)
    for part in _parts(layers, depth_limit):
        parent = volumes[-1].name if volumes else None
        built_from = tuple(itertools.islice(rest, len(part)))
        own = volume_id(below, zip((layer.diff_id for layer in part), built_from, strict=True))
        name = volume_name(own, suffix)
        volumes.append(PlannedVolume(below, own, part, built_from, parent, name))
        below = own
    return tuple(volumes)


def _parts(layers: Sequence[Layer], depth_limit: int) -> list[tuple[Layer, ...]]:
    """Return the layers of each volume, base first."""
    own: list[tuple[Layer, ...]] = [(layer,) for layer in layers]
    if len(layers) <= depth_limit:
        return own
    last = depth_limit // _LAST_SHARE
    first, end = depth_limit - 1 - last, len(layers) - last
    return [*own[:first], tuple(layers[first:end]), *own[end:]]
