# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which layers go into which volume.

Every layer has a volume of its own, which other images can share, up to the depth limit: libvirt
11.3 does not start a machine on a chain of more than 25 images. The last volume takes all the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from virtlayer.chain.identity import geometry_id, layer_ids, volume_name
from virtlayer.errors import InvalidArgument, MalformedLayer
from virtlayer.source.image import Layer


@dataclass(frozen=True, slots=True)
class PlannedVolume:
    """A volume of a chain.

    Attributes:
        layer_id: The id of the last layer in it, and so of the volume.
        layers: What is applied in it, base first; more than one only in the last volume.
        parent: The name of the volume that it is an overlay of; None for the first one.
    """

    layer_id: str
    layers: tuple[Layer, ...]
    parent: str | None

    @property
    def name(self) -> str:
        """The name of the volume."""
        return volume_name(self.layer_id)


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
    ids = layer_ids(geometry_id(virtual_size), [layer.diff_id for layer in layers])
    own = min(len(layers), depth_limit) - 1
    volumes = [
        PlannedVolume(layer_id, (layer,), volume_name(ids[index - 1]) if index else None)
        for index, (layer_id, layer) in enumerate(zip(ids[:own], layers, strict=False))
    ]
    parent = volume_name(ids[own - 1]) if own else None
    volumes.append(PlannedVolume(ids[-1], tuple(layers[own:]), parent))
    return tuple(volumes)
