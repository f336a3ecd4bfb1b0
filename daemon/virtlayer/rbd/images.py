# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes images of a pool, which librbd opens. The functions block."""

from typing import Any

from virtlayer.protocol.rbd import RbdImage
from virtlayer.rbd.binding import rbd
from virtlayer.rbd.names import MARK


def describe(images: Any, name: str) -> RbdImage | None:
    """Describe an image.

    Args:
        images: The pool's I/O context.
        name: Its name.

    Returns:
        None if there is none of that name.

    Raises:
        rbd.Error: The cluster does not answer, or refuses it.
    """
    try:
        with rbd.Image(images, name, read_only=True) as image:
            parent = _parent(images, image)
            return RbdImage(name, image.id(), image.size(), parent, is_ours(image))
    except rbd.ImageNotFound:
        return None


def allocation(images: Any, name: str) -> int:
    """The space that an image uses itself, in bytes, as "rbd du" reports it; 0 if that is unknown.

    Args:
        images: The pool's I/O context.
        name: Its name.

    Raises:
        rbd.Error: The cluster does not answer, or refuses it.
    """
    try:
        with rbd.Image(images, name, read_only=True) as image:
            return _allocation(image)
    except (rbd.ImageNotFound, rbd.PermissionError):
        return 0


def _allocation(image: Any) -> int:
    # Without an object map that is valid, every object would be asked for.
    features = rbd.RBD_FEATURE_OBJECT_MAP | rbd.RBD_FEATURE_FAST_DIFF
    invalid = rbd.RBD_FLAG_OBJECT_MAP_INVALID | rbd.RBD_FLAG_FAST_DIFF_INVALID
    if image.features() & features != features or image.flags() & invalid:
        return 0
    allocated = 0

    def add(_offset: int, length: int, exists: bool) -> None:
        nonlocal allocated
        if exists:
            allocated += length

    image.diff_iterate(0, image.size(), None, add, include_parent=False, whole_object=True)
    return allocated


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
