# SPDX-License-Identifier: LGPL-2.1-or-later
"""The outcome of a pull or update, in one word for the user."""

from enum import StrEnum

from virtlayer.service.catalog.catalog import CatalogImage


class Outcome(StrEnum):
    """The outcome for one image."""

    NEW = "new"  # the pool had no image of that name
    UPDATED = "updated"  # another version of the same source had the name
    REPLACED = "replaced"  # an image of another source had the name
    REPAIRED = "repaired"  # the pool had this version, but lacked some of its layers
    UNCHANGED = "unchanged"  # the pool had this version
    NOT_DUE = "not-due"  # Populate did not look for another version
    FAILED = "failed"  # Populate could not pull it


def outcome_of(before: CatalogImage | None, after: CatalogImage, *, layers_built: int) -> Outcome:
    """Determine what a pull has changed.

    Args:
        before: The image that had the name when the job began; None if there was none.
        after: The image that has the name now.
        layers_built: How many layers the job has built.
    """
    if before is None:
        return Outcome.NEW
    if before.source != after.source:
        return Outcome.REPLACED
    if (before.digest, before.volume) != (after.digest, after.volume):
        return Outcome.UPDATED
    return Outcome.REPAIRED if layers_built else Outcome.UNCHANGED


def is_built_again(before: CatalogImage | None, after: CatalogImage) -> bool:
    """Whether a pull of the same version gave it other volumes.

    Settings for the size of volumes and the length of chains do that, and so does a virtlayer that
    names or writes layers in another way: 0.2 does not use those of 0.1.

    Args:
        before: The image that had the name when the job began; None if there was none.
        after: The image that has the name now.
    """
    return before is not None and (
        (before.source, before.digest) == (after.source, after.digest)
        and before.volume != after.volume
    )
