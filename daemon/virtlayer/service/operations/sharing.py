# SPDX-License-Identifier: LGPL-2.1-or-later
"""Shares the volumes of layers that other images have in another compression.

The id of a volume names the blob that it was built from, so the same layer, compressed by another
program, would be built again. A volume with the same diff ids is shared nevertheless if this
service has verified that its blob unpacks to the diff id: the report of the worker that built it is
not sufficient (``chain.identity``). The verification needs the blob, so it must still be in the
cache. The pull must also be allowed to use that blob: downloading its own blob would not prove that
it has access to the other one.
"""

import dataclasses
import logging
from collections.abc import Sequence

from virtlayer import journal
from virtlayer.errors import VirtlayerError
from virtlayer.service.chain.kinds import plan_for
from virtlayer.service.chain.plan import PlannedVolume
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.operations.belonging import Belonging
from virtlayer.service.operations.services import Services
from virtlayer.service.records.values import BuiltLayer, LayerRecord
from virtlayer.service.source.image import Layer
from virtlayer.service.workers.unpacking import UnpackingWorker

_log = logging.getLogger(__name__)


class SharedPlanning:
    """Plans the chain of an image with volumes that the pool has.

    Args:
        services: The daemon's parts.
        belonging: The content that the pull may use.
        claim: The claim of the pull; the volumes that are found are added to it.
        size: The virtual size of the volumes, in bytes.
    """

    def __init__(
        self,
        services: Services,
        belonging: Belonging,
        claim: Claim,
        size: int,
    ) -> None:
        self._services = services
        self._belonging = belonging
        self._pool = claim.pool
        self._size = size
        self._claim = claim

    async def plan(self, layers: Sequence[Layer]) -> tuple[PlannedVolume, ...]:
        """Plan the volumes of an image, base first, with volumes of the pool that can be shared.

        Args:
            layers: The layers of the image, base first.
        """
        settings = self._services.settings.storage
        blobs = [layer.digest for layer in layers]
        plan = plan_for(self._pool, settings, layers, self._size)
        position = 0
        for number in range(len(plan)):
            planned = plan[number]
            end = position + len(planned.layers)
            built = await self._services.catalog.layers.find(
                self._pool.name, planned.below, [layer.diff_id for layer in planned.layers]
            )
            if all(volume.name != planned.name for volume in built):
                twin = await self._same_content(planned, built)
                if twin is None:
                    # On a volume that is still to be built, there is none.
                    break
                blobs[position:end] = [layer.blob for layer in twin.layers]
                plan = plan_for(self._pool, settings, layers, self._size, blobs)
            position = end
        return plan

    async def _same_content(
        self, planned: PlannedVolume, built: Sequence[LayerRecord]
    ) -> LayerRecord | None:
        for volume in built:
            others = {built.blob for built in volume.layers}.difference(planned.blobs)
            if (
                await self._belonging.may_use_in_pool(others) == others
                and await self._is_there(volume)
                and await self._is_right(planned, volume)
            ):
                return volume
        return None

    async def _is_there(self, volume: LayerRecord) -> bool:
        """Claim a volume, and look for it."""
        await self._claim.add([volume.name])
        return await self._services.pools.volume(self._pool, volume.name) is not None

    async def _is_right(self, planned: PlannedVolume, volume: LayerRecord) -> bool:
        """Return whether each blob of a volume is the planned one, or unpacks to the same."""
        for layer, built in zip(planned.layers, volume.layers, strict=True):
            if layer.digest != built.blob and not await self._unpacks(built, volume):
                return False
        return True

    async def _unpacks(self, layer: BuiltLayer, volume: LayerRecord) -> bool:
        """Return whether a blob unpacks to its diff id; verify it if that is not known."""
        known = self._services.catalog.layers
        # Uncompressed content was already verified as a blob.
        if layer.blob == layer.diff_id or await known.is_confirmed(layer.blob, layer.diff_id):
            return True
        digest = await self._unpacked_digest(layer)
        if digest == layer.diff_id:
            await known.confirm(layer.blob, layer.diff_id)
            return True
        if digest is not None:
            _log.warning(
                'The volume %s in the pool "%s" was built from the blob %s as the layer %s, but '
                "that blob unpacks to %s: the layer worker reported a wrong digest.",
                volume.name,
                self._pool.name,
                layer.blob,
                layer.diff_id,
                digest,
                extra=journal.fields(pool=self._pool.name, volume=volume.name, layer=layer.diff_id),
            )
            await self._services.records.change_layer(self._claim, volume.name, _without_layers)
        return False

    async def _unpacked_digest(self, layer: BuiltLayer) -> str | None:
        """Return the diff id of a blob; None if it is not cached or cannot be unpacked."""
        if not await self._belonging.may_use([layer.blob]):
            # The pool's records allow its use, but they do not count for the cache.
            return None
        blob = Layer(layer.blob, layer.bytes, "", layer.diff_id)
        async with self._services.cache.cached(blob) as descriptor:
            if descriptor is None:
                return None
            programs = self._services.keeper.programs
            settings = self._services.settings.layer
            algorithm = layer.diff_id.partition(":")[0]
            try:
                async with UnpackingWorker.started(programs, settings) as worker:
                    return await worker.digest(descriptor, algorithm, f"The blob {layer.blob}")
            except VirtlayerError as error:
                _log.warning("The blob %s cannot be decompressed. %s", layer.blob, error)
                return None


def _without_layers(record: LayerRecord | None) -> LayerRecord | None:
    """Delete the wrong blobs from the record of a volume; the record itself is kept."""
    return None if record is None else dataclasses.replace(record, layers=())
