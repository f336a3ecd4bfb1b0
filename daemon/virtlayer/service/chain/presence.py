# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that the volumes in a pool with the names of a chain are that chain."""

from collections.abc import Iterable, Mapping

from virtlayer.errors import VolumeExists, VolumeNotFound
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.chain.plan import PlannedVolume
from virtlayer.service.chain.request import BuiltChain, ChainRequest
from virtlayer.sizes import human_size


def check_layer(volume: Volume, pool: Pool, virtual_size: int) -> None:
    """Check that a volume is a layer.

    Its backing volume is not compared: a user may have shortened the chain with qemu-img.

    Args:
        volume: A volume with the name of a layer.
        pool: The pool that has it.
        virtual_size: The required virtual size, in bytes.

    Raises:
        VolumeExists: It is not such a layer.
    """
    backing = volume.backing_path
    backing_fits = backing is None or (
        is_layer_volume(volume.backing_in(pool) or "")
        and volume.backing_format == pool.chain_format
    )
    if volume.format != pool.chain_format or volume.capacity != virtual_size or not backing_fits:
        raise VolumeExists(
            f'The volume {volume.name} in the pool "{pool.name}" is not the layer of that name: it '
            f"is {volume.format} with {human_size(volume.capacity)}, backed by {backing}, not "
            f"{pool.chain_format} with {human_size(virtual_size)}, backed by a layer of this pool. "
            "Delete it, then try again."
        )


def refuse_to_build_recompressed(missing: Iterable[PlannedVolume], request: ChainRequest) -> None:
    """Check that volumes to be built use the blobs of the image.

    Raises:
        VolumeNotFound: A volume that can only be reused no longer exists.
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
    """Return the complete chain; None if a volume of it is missing.

    Args:
        plan: The chain.
        found: Volumes of the pool by their names, claimed before they were looked for.
        pool: The pool.
        virtual_size: The virtual size of the plan, in bytes.

    Raises:
        VolumeExists: Another volume has the name of one of the volumes.
    """
    plan = tuple(plan)
    if any(planned.name not in found for planned in plan):
        return None
    volumes = tuple(found[planned.name] for planned in plan)
    for volume in volumes:
        check_layer(volume, pool, virtual_size)
    layers = sum(len(planned.layers) for planned in plan)
    return BuiltChain(volumes, layers_built=0, layers_reused=layers)
