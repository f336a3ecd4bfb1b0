# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gives finished images their names in the pool. The functions block."""

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from virtlayer.errors import Internal, PoolUnavailable, VolumeExists
from virtlayer.protocol.rbd import Placed, RbdImage
from virtlayer.protocol.rbd_names import claim_of
from virtlayer.rbd.binding import rbd
from virtlayer.rbd.claims import Claim
from virtlayer.rbd.headers import describe_one
from virtlayer.rbd.new_records import NewRecord, layer_record, volume_record
from virtlayer.rbd.renaming import rename_closed_image


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlace:
    """What is to be placed.

    Attributes:
        unfinished: The present name of the image.
        name: The name that it gets.
        is_layer: Whether it is a layer: two of one name have the same content.
        record_file: The file of its record; None if it gets none.
        record: The content of the record; None if it gets none.
    """

    unfinished: str
    name: str
    is_layer: bool
    record_file: str | None
    record: bytes | None


def place_image(images: Any, claim: Claim, new: NewPlace) -> Placed:
    """Write the record of an image, and give the image its name.

    Args:
        images: The pool's I/O context.
        claim: The claim of the job.
        new: What is to be placed.

    Raises:
        PoolUnavailable: It is a clone of an image that has no name.
        VolumeExists: Another program has made an image with the name of a layer.
        PoolLocked: Another process has the pool's lock.
        rbd.Error: The cluster does not answer, or refuses it.
        VirtlayerError: The same.
    """
    unfinished = describe_one(images, new.unfinished)
    if unfinished is None or claim_of(unfinished.parent) is not None:
        # Another job has placed its own image under the name of the parent.
        raise PoolUnavailable(
            f'The parent of the image "{new.name}" is not in the pool. Try again.'
        )
    with _record(claim, new) as record:
        ours = True
        claim.check()
        try:
            with claim.lease.certain():
                rename_closed_image(images, unfinished.id, new.unfinished, new.name)
            image = replace(unfinished, name=new.name)
        except rbd.ImageExists:
            ours = False
            record.is_wanted = new.is_layer
            image = _former(images, new)
    return Placed(image, ours, record.stamp if record.is_wanted else None)


def _former(images: Any, new: NewPlace) -> RbdImage:
    """The image that has the name already."""
    image = describe_one(images, new.name)
    if image is None:
        raise Internal(f'The image "{new.name}" was deleted meanwhile.')
    if new.is_layer and not image.made:
        raise VolumeExists(
            f'An image "{new.name}" was created in the pool "{images.name}" by another program. '
            "Delete it and try again."
        )
    return image


def _record(claim: Claim, new: NewPlace) -> AbstractContextManager[NewRecord]:
    if new.record_file is None or new.record is None:
        return contextlib.nullcontext(NewRecord(None))
    if new.is_layer:
        return layer_record(claim, new.record_file, new.record)
    return volume_record(claim, new.record_file, new.record)
