# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gives an image that no client has open its name. The function blocks.

librbd opens an image to rename it, with all that it is a clone of, and locks it against clients
that have it open: 55 requests, nearly all of them one after the other. What it then changes are
three objects, in this order: ``rbd_id.NAME`` has the id of the image, ``rbd_directory`` its name.
"""

import contextlib
import errno
from typing import Any

from virtlayer.rbd.binding import rados, rbd
from virtlayer.rbd.directory import DIRECTORY, encoded_text

_ID = "rbd_id."
_FIRST_FORMAT = ".rbd"
"""How the header of an image of the first format ends."""
_EXCLUSIVE = 1
"""A new object fails if it exists."""


def rename_closed_image(images: Any, image_id: str, old: str, new: str) -> None:
    """Give an image of the second format, which no client has open, another name.

    Args:
        images: The pool's I/O context.
        image_id: Its id.
        old: Its present name.
        new: The new one.

    Raises:
        rbd.ImageExists: There is an image of the new name.
        rados.Error: The cluster does not answer, or refuses it.
    """
    with contextlib.suppress(rados.ObjectNotFound):
        images.stat(new + _FIRST_FORMAT)
        raise _exists(new)
    with rados.WriteOpCtx() as writing:
        writing.new(_EXCLUSIVE)
        writing.write_full(encoded_text(image_id.encode()))
        try:
            images.operate_write_op(writing, _ID + new)
        except rados.ObjectExists as error:
            raise _exists(new) from error
    try:
        names = (one.encode() for one in (old, new, image_id))
        renaming = b"".join(map(encoded_text, names))
        images.execute(DIRECTORY, "rbd", "dir_rename_image", renaming)
    except rados.Error as error:
        # If it is unknown whether the image has its new name, it may need that object.
        if error.errno != errno.ETIMEDOUT:
            with contextlib.suppress(rados.Error):
                images.remove_object(_ID + new)
        raise
    with contextlib.suppress(rados.ObjectNotFound):
        images.remove_object(_ID + old)


def _exists(name: str) -> Any:
    return rbd.ImageExists(f'There is an image "{name}".', errno=errno.EEXIST)
