# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes the images of a pool. The functions block."""

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
            return described(images, image, name)
    except rbd.ImageNotFound:
        return None


def described(images: Any, image: Any, name: str) -> RbdImage:
    """Describe an open image."""
    return RbdImage(name, image.id(), image.size(), _parent(images, image), is_ours(image))


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
