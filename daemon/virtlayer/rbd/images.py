# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes the images of a pool. The functions block."""

from dataclasses import replace
from typing import Any

from virtlayer.protocol.rbd import RbdImage
from virtlayer.rbd.binding import rbd
from virtlayer.rbd.names import MARK
from virtlayer.rbd.unfinished import claim_of


def image_names(images: Any) -> list[str]:
    """The names of all images but for unfinished ones, sorted.

    Args:
        images: The pool's I/O context.

    Raises:
        rbd.Error: The cluster does not answer, or refuses it.
    """
    return sorted(name for name in rbd.RBD().list(images) if claim_of(name) is None)


def describe(images: Any, name: str, *, measure: bool = False) -> RbdImage | None:
    """Describe an image.

    Args:
        images: The pool's I/O context.
        name: Its name.
        measure: Whether its allocation is needed.

    Returns:
        None if there is none of that name.

    Raises:
        rbd.Error: The cluster does not answer, or refuses it.
    """
    try:
        with rbd.Image(images, name, read_only=True) as image:
            found = described(images, image, name)
            return replace(found, allocation=_allocation(image)) if measure else found
    except rbd.ImageNotFound:
        return None


def described(images: Any, image: Any, name: str) -> RbdImage:
    """Describe an open image."""
    return RbdImage(name, image.id(), image.size(), _parent(images, image), is_ours(image))


def _allocation(image: Any) -> int:
    """The space that an open image uses itself, in bytes, as "rbd du" reports it."""
    # Without an object map that is valid, every object would be asked for.
    features = rbd.RBD_FEATURE_OBJECT_MAP | rbd.RBD_FEATURE_FAST_DIFF
    invalid = rbd.RBD_FLAG_OBJECT_MAP_INVALID | rbd.RBD_FLAG_FAST_DIFF_INVALID
    if image.features() & features != features or image.flags() & invalid:
        return 0
    allocation = 0

    def add(_offset: int, length: int, exists: bool) -> None:
        nonlocal allocation
        if exists:
            allocation += length

    image.diff_iterate(0, image.size(), None, add, include_parent=False, whole_object=True)
    return allocation


def is_ours(image: Any) -> bool:
    """Whether virtlayer has made an open image."""
    try:
        return bool(image.metadata_get(MARK) == image.id())
    except KeyError:
        return False


def _parent(images: Any, image: Any) -> str:
    try:
        spec = image.get_parent_image_spec()
    except rbd.ImageNotFound:
        return ""
    is_here = spec["pool_name"] == images.name and not spec["pool_namespace"]
    return str(spec["image_name"]) if is_here else ""
