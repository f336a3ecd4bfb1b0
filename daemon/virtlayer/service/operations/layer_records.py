# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the records of layer volumes that a pull builds or reuses."""

import dataclasses

from virtlayer.service.chain.plan import PlannedVolume
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.operations.belonging import Belonging
from virtlayer.service.records.values import BuiltLayer, LayerRecord
from virtlayer.service.synchronization.pool_records import PoolRecords


async def record_layer(
    records: PoolRecords, claim: Claim, planned: PlannedVolume, belonging: Belonging
) -> None:
    """Record the blobs that a volume is built from, and their owners.

    An existing record gets further owners if this pull has downloaded the blobs.

    Args:
        records: The records of the pools.
        claim: The claim of the pull.
        planned: The volume, which is built from blobs of the image.
        belonging: The content that the pull may use.

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
    new = LayerRecord(name=planned.name, below=planned.below, layers=layers)
    await records.change_layer(claim, planned.name, lambda before: _with_owners(before, new))


def _with_owners(before: LayerRecord | None, new: LayerRecord) -> LayerRecord:
    if before is None or _built_from(before) != _built_from(new):
        # The name depends on the blobs that the volume is built from. Another record is wrong.
        return new
    layers = tuple(
        dataclasses.replace(layer, owners=layer.owners | own.owners)
        for layer, own in zip(before.layers, new.layers, strict=True)
    )
    return dataclasses.replace(before, layers=layers)


def _built_from(record: LayerRecord) -> tuple[object, ...]:
    return record.below, *((layer.diff_id, layer.blob, layer.bytes) for layer in record.layers)
