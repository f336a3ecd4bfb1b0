# SPDX-License-Identifier: LGPL-2.1-or-later
"""Decides which image a new image in the catalog may replace."""

from enum import IntEnum
from typing import Protocol

from virtlayer.errors import ImageExists, NotAuthorized


class Replacing(IntEnum):
    """How much a pull may replace; each value includes the ones before it."""

    NOTHING = 0
    """Nothing: the name is free, or is of the same version of the same source."""
    VERSIONS = 1
    """Other versions of the same source."""
    SOURCES = 2
    """Images of other sources."""


class _Named(Protocol):
    """An image that has a name."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def volume(self) -> str: ...


def check_replacing(pool: str, present: _Named, new: _Named, allowed: Replacing) -> None:
    """Check that an image may be replaced by another.

    Args:
        pool: The name of the pool.
        present: The image that has the name.
        new: The image that is to get the name.
        allowed: How much may be replaced.

    Raises:
        ImageExists: The name belongs to an image of another source.
        NotAuthorized: The name belongs to another version.
    """
    if present.source != new.source and allowed < Replacing.SOURCES:
        raise taken(pool, present.name)
    is_same = (present.digest, present.volume) == (new.digest, new.volume)
    if not is_same and allowed < Replacing.VERSIONS:
        raise NotAuthorized(
            f'The image "{present.name}" in the pool "{pool}" is another version. To '
            "replace it you need the right to remove it (org.virtlayer1.remove). Use --name to "
            "pull this version under another name."
        )


def taken(pool: str, name: str) -> ImageExists:
    """Return the error for a name of an image of another source, which is not shown."""
    return ImageExists(
        f'The pool "{pool}" has an image "{name}" from another source. Use --name to choose '
        "another name, or --replace to give this name to the new image."
    )
