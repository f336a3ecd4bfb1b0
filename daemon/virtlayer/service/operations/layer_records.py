# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the records of layer volumes that a pull builds or reuses."""

import contextlib
import dataclasses

from virtlayer.errors import VirtlayerError
from virtlayer.service.chain.plan import PlannedVolume
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.operations.belonging import Belonging
from virtlayer.service.records.values import BuiltLayer, LayerRecord
from virtlayer.service.synchronization.pool_records import PoolRecords


async def record_layer(
    records: PoolRecords,
    claim: Claim,
    planned: PlannedVolume,
    belonging: Belonging,
    identity: bool | None = None,
) -> None:
    """Record the blobs that a volume is built from, and their owners.

    An existing record gets further owners if this pull has downloaded the blobs.

    Args:
        records: The records of the pools.
        claim: The claim of the pull.
        planned: The volume, which is built from blobs of the image.
        belonging: The content that the pull may use.
        identity: Whether machines made from it would share an identity; None if that is not known.

    Raises:
        VirtlayerError: The record cannot be written.
    """
    layers = tuple(
        [
            BuiltLayer(
                layer.diff_id, layer.digest, layer.size, await belonging.owners(layer.digest)
            )
            for layer in planned.layers
        ]
    )
    new = LayerRecord(name=planned.name, below=planned.below, layers=layers, identity=identity)
    await records.change_layer(claim, planned.name, lambda before: _with_owners(before, new))


async def record_identity(
    records: PoolRecords, claim: Claim, volume: str, *, identity: bool
) -> None:
    """Record whether machines that are made from a layer volume would share an identity.

    If that fails, it only means that the next volume on it takes longer.

    Args:
        records: The records of the pools.
        claim: A claim on the volume.
        volume: The name of the volume.
        identity: Whether they would.
    """

    def change(before: LayerRecord | None) -> LayerRecord | None:
        return before and dataclasses.replace(before, identity=identity)

    with contextlib.suppress(VirtlayerError):
        await records.change_layer(claim, volume, change)


def _with_owners(before: LayerRecord | None, new: LayerRecord) -> LayerRecord:
    if before is None or _built_from(before) != _built_from(new):
        # The name depends on the blobs that the volume is built from. Another record is wrong.
        return new
    layers = tuple(
        dataclasses.replace(layer, owners=layer.owners | own.owners)
        for layer, own in zip(before.layers, new.layers, strict=True)
    )
    identity = before.identity if new.identity is None else new.identity
    return dataclasses.replace(before, layers=layers, identity=identity)


def _built_from(record: LayerRecord) -> tuple[object, ...]:
    return record.below, *((layer.diff_id, layer.blob, layer.bytes) for layer in record.layers)
