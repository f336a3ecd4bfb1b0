# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which layers go into which volume.

Every layer has a volume of its own, up to the depth limit: libvirt 11.3 does not start a machine on
a chain of more than 25 images. Of a deeper image, the first layers keep theirs, which other images
share, and so do the last ones, which the image's next version replaces while those below stay. The
layers between share one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from virtlayer.errors import InvalidArgument, MalformedLayer
from virtlayer.service.chain.identity import geometry_id, volume_id, volume_name
from virtlayer.service.source.image import Layer

_LAST_SHARE = 4
"""One in so many volumes of a full chain is for a layer at its end: four of sixteen."""


@dataclass(frozen=True, slots=True)
class PlannedVolume:
    """A volume of a chain.

    Attributes:
        volume_id: What ``identity.volume_id`` gives it.
        layers: What is applied in it, base first; more than one in one volume at most.
        parent: The name of the volume that it is an overlay of; None for the first one.
    """

    volume_id: str
    layers: tuple[Layer, ...]
    parent: str | None

    @property
    def name(self) -> str:
        """The name of the volume."""
        return volume_name(self.volume_id)


def plan_chain(
    layers: Sequence[Layer], virtual_size: int, depth_limit: int
) -> tuple[PlannedVolume, ...]:
    """Plan the volumes of an image, base first.

    Args:
        layers: The image's, base first.
        virtual_size: Of the volumes, in bytes.
        depth_limit: The most volumes in the chain.

    Raises:
        MalformedLayer: The image has no layers.
        InvalidArgument: The depth limit allows no volume at all.
    """
    if depth_limit < 1:
        raise InvalidArgument("The depth limit of a chain must be at least 1 (depth-limit).")
    if not layers:
        raise MalformedLayer("The image has no layers: there is no file system to make of it.")
    volumes: list[PlannedVolume] = []
    below = geometry_id(virtual_size)
    for part in _parts(layers, depth_limit):
        parent = volumes[-1].name if volumes else None
        below = volume_id(below, [layer.diff_id for layer in part])
        volumes.append(PlannedVolume(below, part, parent))
    return tuple(volumes)


def _parts(layers: Sequence[Layer], depth_limit: int) -> list[tuple[Layer, ...]]:
    """What is applied in each volume, base first."""
    own: list[tuple[Layer, ...]] = [(layer,) for layer in layers]
    if len(layers) <= depth_limit:
        return own
    last = depth_limit // _LAST_SHARE
    first, end = depth_limit - 1 - last, len(layers) - last
    return [*own[:first], tuple(layers[first:end]), *own[end:]]
