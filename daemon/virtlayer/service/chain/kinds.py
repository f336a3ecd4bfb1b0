# SPDX-License-Identifier: LGPL-2.1-or-later
"""How each kind of pools has chains: as qcow2 files, or as RBD images."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from virtlayer.protocol.pools import Pool
from virtlayer.service.chain.images import Images
from virtlayer.service.chain.plan import PlannedVolume, plan_chain
from virtlayer.service.chain.qcow2 import create_qcow2_overlay, qcow2_images_in
from virtlayer.service.chain.rbd_images import create_rbd_volume, rbd_images_in
from virtlayer.service.keeper.staging import Staging
from virtlayer.service.source.image import Layer
from virtlayer.settings import DEEPEST_CHAIN, StorageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChainKind:
    """What differs between the kinds of pools.

    Attributes:
        depth_limit: The most layers in a chain, whatever the settings allow. Each layer of an RBD
            volume makes reading slower: ceph-csi flattens chains of 4 to 8, and krbd opens 16.
        images_in: Makes images in a staging place.
        create_overlay: Makes an overlay that is not written; returns its name in the staging place,
            where it is flushed.
    """

    depth_limit: int
    images_in: Callable[[Staging], AbstractAsyncContextManager[Images]]
    create_overlay: Callable[[Staging, int, str], Awaitable[str]]


_FILES = _ChainKind(
    depth_limit=DEEPEST_CHAIN, images_in=qcow2_images_in, create_overlay=create_qcow2_overlay
)
_RBD = _ChainKind(depth_limit=6, images_in=rbd_images_in, create_overlay=create_rbd_volume)


def plan_for(
    pool: Pool,
    settings: StorageSettings,
    layers: Sequence[Layer],
    virtual_size: int,
    blobs: Sequence[str] | None = None,
) -> tuple[PlannedVolume, ...]:
    """Plan the volumes of an image in a pool, base first; see ``plan_chain``."""
    limit = min(settings.depth_limit, _kind_of(pool).depth_limit)
    return plan_chain(layers, virtual_size, limit, blobs, suffix=pool.layer_suffix)


def images_in(staging: Staging) -> AbstractAsyncContextManager[Images]:
    """Make images in a staging place for as long as the context lasts."""
    return _kind_of(staging.pool).images_in(staging)


async def create_overlay(staging: Staging, virtual_size: int, parent: str) -> str:
    """Make an empty overlay that is not written here, which is faster than ``images_in``.

    Args:
        staging: The staging place.
        virtual_size: In bytes.
        parent: The name of the layer that it is based on.

    Returns:
        Its name in the staging place, where it is flushed.

    Raises:
        ProgramFailed: It could not be made.
        VirtlayerError: The pool cannot be used.
    """
    return await _kind_of(staging.pool).create_overlay(staging, virtual_size, parent)


def _kind_of(pool: Pool) -> _ChainKind:
    return _RBD if pool.is_rbd else _FILES
