# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether what a pool has under the names of a chain's volumes is that chain."""

from collections.abc import Iterable, Mapping

from virtlayer.errors import VolumeExists, VolumeNotFound
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.chain.plan import PlannedVolume
from virtlayer.service.chain.request import BuiltChain, ChainRequest
from virtlayer.sizes import human_size


def check_layer(volume: Volume, pool: Pool, virtual_size: int) -> None:
    """See that a volume is a layer.

    Which one it stands on is not compared: somebody may have shortened the chain with qemu-img.

    Args:
        volume: One with the name of a layer.
        pool: Where it is.
        virtual_size: What it must have, in bytes.

    Raises:
        VolumeExists: It is something else.
    """
    backing = volume.backing_path
    backing_fits = backing is None or (
        backing.parent == pool.path
        and is_layer_volume(backing.name)
        and volume.backing_format == "qcow2"
    )
    if volume.format != "qcow2" or volume.capacity != virtual_size or not backing_fits:
        raise VolumeExists(
            f'The volume {volume.name} in the pool "{pool.name}" is not the layer of that name: it '
            f"is {volume.format} with {human_size(volume.capacity)}, backed by {backing}, not "
            f"qcow2 with {human_size(virtual_size)}, backed by a layer of this pool. Delete it, "
            "then try again."
        )


def refuse_to_build_recompressed(missing: Iterable[PlannedVolume], request: ChainRequest) -> None:
    """See that volumes to be built are to be built from the blobs that the image has.

    Raises:
        VolumeNotFound: One was found when the chain was planned, and can only be reused.
    """
    for planned in missing:
        if planned.is_recompressed:
            raise VolumeNotFound(
                f'The volume {planned.name} was deleted from the pool "{request.pool.name}" during '
                f"the pull of {request.description}. Pull it again."
            )


def whole_chain(
    plan: Iterable[PlannedVolume], found: Mapping[str, Volume], pool: Pool, virtual_size: int
) -> BuiltChain | None:
    """The chain of which nothing has to be built; None if a volume of it is missing.

    Args:
        plan: The chain.
        found: Volumes of the pool by their names, claimed before they were looked for.
        pool: The pool.
        virtual_size: What the plan was made for, in bytes.

    Raises:
        VolumeExists: Something else has the name of one of the volumes.
    """
    plan = tuple(plan)
    if any(planned.name not in found for planned in plan):
        return None
    volumes = tuple(found[planned.name] for planned in plan)
    for volume in volumes:
        check_layer(volume, pool, virtual_size)
    layers = sum(len(planned.layers) for planned in plan)
    return BuiltChain(volumes, layers_built=0, layers_reused=layers)
