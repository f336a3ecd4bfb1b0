# SPDX-License-Identifier: LGPL-2.1-or-later
"""Updates the record of an image when its name is pulled again.

The previous image becomes a former version, as long as its own volumes are in the pool. A version
is *kept* while Populate is configured to keep it: then its volumes are needed like those of an
image. Otherwise prune or populate deletes it, as soon as no machine uses it.
"""

import dataclasses
from collections.abc import Collection

from virtlayer.service.records.owners import Owner
from virtlayer.service.records.values import FormerVersion, ImageRecord, PulledImage


def replaced(
    before: ImageRecord | None,
    image: PulledImage,
    owners: frozenset[Owner],
    now: int,
    *,
    keep: int | None = None,
) -> ImageRecord:
    """Return the record of an image that was pulled.

    Args:
        before: The previous record of the name.
        image: The pulled image.
        owners: The owners of its config.
        now: The time in microseconds since 1970.
        keep: The number of former versions to keep; None to keep the ones that are kept now.
    """
    former = () if before is None else before.former
    if before is not None and before.volume != image.volume:
        former = (_former(before, now, kept=keep is not None), *former)
    same = [version for version in former if version.volume == image.volume]
    former = tuple(version for version in former if version not in same)
    if keep is not None:
        former = tuple(
            dataclasses.replace(version, kept=number < keep)
            for number, version in enumerate(former)
        )
    known: list[PulledImage | FormerVersion] = [*same]
    if before is not None:
        known.append(before)
    pulled_by = image.pulled_by.union(
        *(
            one.pulled_by
            for one in known
            if (one.source, one.digest) == (image.source, image.digest)
        )
    )
    if before is not None and before.image_id == image.image_id:
        owners |= before.owners
    fields = {field.name: getattr(image, field.name) for field in dataclasses.fields(PulledImage)}
    return ImageRecord(**fields | {"pulled_by": pulled_by}, owners=owners, former=former)


def without(record: ImageRecord, volumes: Collection[str]) -> ImageRecord:
    """Return the record without the former versions that use one of the deleted volumes."""
    former = tuple(one for one in record.former if not set(volumes).intersection(one.volumes))
    return dataclasses.replace(record, former=former)


def _former(image: ImageRecord, now: int, *, kept: bool) -> FormerVersion:
    return FormerVersion(
        source=image.source,
        digest=image.digest,
        config=image.config,
        volume=image.volume,
        volumes=image.volumes,
        pulled_at=image.pulled_at,
        replaced_at=now,
        kept=kept,
        pulled_by=image.pulled_by,
    )
