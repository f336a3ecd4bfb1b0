# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deletes images that virtlayer has made and nobody uses. The functions block.

An image that is being deleted first gets a name of those that a sweep removes. So no host takes the
rest for a whole image if this one fails meanwhile.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from virtlayer.errors import InUse, VolumeNotFound
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.rbd_names import unfinished_name
from virtlayer.rbd.binding import rbd
from virtlayer.rbd.images import is_ours
from virtlayer.rbd.names import LAYER_SNAPSHOT
from virtlayer.rbd.removal import remove_image
from virtlayer.rbd.users import users_of


def delete_image(
    images: Any,
    name: str,
    owner: str,
    check: Callable[[], None],
    *,
    image_id: str | None = None,
) -> None:
    """Delete an image.

    Removing a snapshot succeeds although there are clones of it, so users are listed before.
    Nothing is moved to the trash, which would hide the parent of a clone.

    Args:
        images: The pool's I/O context.
        name: Its name.
        owner: The name of the claim, or of the pool's lock, for which this is done. As long as it
            lasts, no host sweeps the image.
        check: Raises an error if it must no longer be done.
        image_id: Its id; None if any image of that name is meant.

    Raises:
        VolumeNotFound: There is none of that name, or virtlayer has not made it.
        InUse: Something uses it, or it is unknown whether something does.
        VirtlayerError: That of ``check``.
        rbd.Error: The cluster does not answer, or refuses it.
    """
    try:
        with rbd.Image(images, name, read_only=True) as image:
            if not is_ours(image) or image_id not in (None, image.id()):
                raise _missing(images, name)
        users = users_of(images, name, layers=True)
        if users:
            raise _used(images, name, users)
        # The lists may have taken so long that nobody waits, and another host has the lock.
        check()
        doomed = _renamed(images, name, unfinished_name(owner, f"deleted-{name}"))
    except rbd.ImageNotFound as error:
        raise _missing(images, name) from error
    try:
        _remove(images, doomed, is_layer=is_layer_volume(name))
    except rbd.ImageNotFound:
        pass  # A sweep has removed it, because the owner has ended.
    except (rbd.ImageBusy, rbd.ImageHasSnapshots) as error:
        # Another program has cloned or opened it meanwhile: it remains.
        if doomed != name:
            with contextlib.suppress(rbd.ImageNotFound):
                rbd.RBD().rename(images, doomed, name)
        raise _used(images, name, ("a client that has just begun to",)) from error


def _renamed(images: Any, name: str, doomed: str) -> str:
    """Give an image the name of an unfinished one, so that a part of it is never taken for it."""
    try:
        rbd.RBD().rename(images, name, doomed)
    except (rbd.NoSpace, rbd.DiskQuotaExceeded):
        # A rename needs a new object. Deleting is what helps, so it is deleted under its name.
        return name
    return doomed


def _remove(images: Any, name: str, *, is_layer: bool) -> None:
    if is_layer:
        with rbd.Image(images, name) as image:
            if image.snap_exists(LAYER_SNAPSHOT):
                image.remove_snap(LAYER_SNAPSHOT)
    try:
        remove_image(images, name)
    except (rbd.ImageBusy, rbd.ImageHasSnapshots):
        if is_layer:
            with rbd.Image(images, name) as image:
                image.create_snap(LAYER_SNAPSHOT)
        raise


def _missing(images: Any, name: str) -> VolumeNotFound:
    return VolumeNotFound(
        f'The pool "{images.name}" has no image "{name}" that virtlayer has made.'
    )


def _used(images: Any, name: str, users: tuple[str, ...]) -> InUse:
    return InUse(f'The image "{name}" in the pool "{images.name}" is used by {", ".join(users)}.')
