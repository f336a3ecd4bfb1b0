# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes images again that this connection has placed."""

import contextlib
from dataclasses import dataclass
from typing import Any

from virtlayer.errors import Internal, VirtlayerError, VolumeNotFound
from virtlayer.protocol.rbd import Placed
from virtlayer.protocol.records import Stamp
from virtlayer.rbd.claims import Claim
from virtlayer.rbd.deletion import delete_image
from virtlayer.rbd.records import put_record


@dataclass(frozen=True, slots=True)
class _PlacedHere:
    """An image that was placed.

    Attributes:
        claim: The claim of the job.
        image_id: The id of the image.
        record_file: The file of its record; None if it has none.
        stamp: The stamp of the record; None if none was written.
    """

    claim: Claim
    image_id: str
    record_file: str | None
    stamp: Stamp | None


class PlacedImages:
    """The images that one connection has placed, by their names."""

    def __init__(self) -> None:
        self._placed: dict[str, _PlacedHere] = {}

    def add(self, claim: Claim, placed: Placed, record_file: str | None) -> None:
        """Remember an image that was placed, and was not there before."""
        here = _PlacedHere(claim, placed.image.id, record_file, placed.record)
        self._placed[placed.image.name] = here

    def withdraw(self, images: Any, name: str) -> None:
        """Remove an image with its record, if it is still the one that was placed; blocks.

        Args:
            images: The pool's I/O context.
            name: Its name.

        Raises:
            Internal: It was not placed on this connection.
            InUse: Something uses it.
            rbd.Error: The cluster does not answer, or refuses it.
        """
        here = self._placed.get(name)
        if here is None:
            raise Internal(f'The image "{name}" was not placed on this connection.')
        with contextlib.suppress(VolumeNotFound), here.claim.lease.certain():
            claim = here.claim
            delete_image(images, name, claim.name, claim.lease.check, image_id=here.image_id)
        if here.record_file is not None and here.stamp is not None:
            # If its claim has ended, the record remains until it is found to be about nothing.
            with contextlib.suppress(VirtlayerError):
                table = here.claim.lease.table
                put_record(table, here.claim, here.record_file, here.stamp, None)
        self._placed.pop(name, None)
