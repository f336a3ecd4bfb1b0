# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds who uses an image: its children, snapshots and watchers. The functions block.

What cannot be listed counts as a user: ``rbd children`` fails if a clone is in a pool that the user
may not read.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.rbd.binding import rbd
from virtlayer.rbd.names import LAYER_SNAPSHOT


def users_of(images: Any, name: str, *, layers: bool) -> tuple[str, ...]:
    """Return the users of an image, in words; none if there is no such image.

    Args:
        images: The pool's I/O context.
        name: Its name.
        layers: Whether layers in the same pool that are clones of it are returned as well.
    """
    try:
        # Opened like this, it gets no watcher.
        with rbd.Image(images, name, read_only=True) as image:
            return users_of_open(images, image, layers=layers)
    except rbd.ImageNotFound:
        return ()


def users_of_open(
    images: Any, image: Any, *, layers: bool, watchers: bool = True
) -> tuple[str, ...]:
    """Return the users of an open image; see ``users_of``.

    Args:
        images: The pool's I/O context.
        image: The image.
        layers: Whether layers in the same pool that are clones of it are returned as well.
        watchers: Whether clients that have it open are.
    """
    found = [
        *_listed("clones", lambda: _children(images, image, layers=layers)),
        *_listed("snapshots", lambda: _snapshots(image)),
    ]
    if watchers:
        found += _listed("clients", lambda: _watchers(image))
    return tuple(found)


def _listed(what: str, find: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return list(find())
    except (rbd.Timeout, rbd.ConnectionShutdown):
        # Each further list would wait as long.
        raise
    except rbd.Error as error:
        return [f"{what} that cannot be listed ({error})"]


def _children(images: Any, image: Any, *, layers: bool) -> Iterator[str]:
    for child in image.list_children2():
        pool, name = child["pool"], child["image"]
        is_here = pool == images.name and not child["pool_namespace"]
        if child["trash"]:
            yield f'the image "{pool}/{name}" in the trash'
        elif layers or not is_here or not is_layer_volume(name):
            yield f'the image "{pool}/{name}"'


def _snapshots(image: Any) -> Iterator[str]:
    is_layer = is_layer_volume(image.get_name())
    for snapshot in image.list_snaps():
        is_own = is_layer and snapshot["name"] == LAYER_SNAPSHOT
        if not (is_own and snapshot["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_USER):
            yield f'the snapshot "{snapshot["name"]}"'


def _watchers(image: Any) -> Iterator[str]:
    for watcher in image.watchers_list():
        yield f"a client at {watcher['addr']}"
