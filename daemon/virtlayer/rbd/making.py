# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes images in a pool, from an empty one or a clone to one with a name. The functions block.

All of them raise ``rbd.Error`` or ``rados.Error`` if the cluster does not answer, or refuses it.
"""

from typing import Any

from virtlayer.errors import Internal, VolumeNotFound
from virtlayer.protocol.rbd import RbdImage
from virtlayer.rbd.binding import rados, rbd
from virtlayer.rbd.headers import describe_one, mark
from virtlayer.rbd.names import LAYER_SNAPSHOT

_ORDER = 22
"""The object size of an image without a parent, as a power of two: Ceph's usual 4 MiB. It is
written from its beginning to its end, which takes a fifth longer with 512 KiB."""
_CLONE_ORDER = 19
"""That of a clone. A write into it first copies one of its objects from the parent: 40 scattered
ones of 4 KiB use 116 MiB with 4 MiB, 18 MiB with these 512 KiB. Smaller objects take longer to
write and to delete."""
_TRASH = "rbd_trash"


def make_trash(images: Any) -> None:
    """Make the object with the list of deleted images, if there is none yet.

    librbd notes each image there while it deletes it. In a full pool, the object cannot be made.

    Raises:
        rados.Error: The cluster does not answer, or refuses it.
    """
    with rados.WriteOpCtx() as writing:
        writing.new(0)
        images.operate_write_op(writing, _TRASH)


def create_image(images: Any, name: str, size: int) -> None:
    """Make an empty image.

    Args:
        images: The pool's I/O context.
        name: Its name.
        size: Its virtual size in bytes.
    """
    rbd.RBD().create(images, name, size, order=_ORDER, old_format=False, features=_features())
    _marked(images, name)


def clone_image(images: Any, parent: str, name: str, size: int) -> None:
    """Make a clone of a layer, or of a flushed image.

    Args:
        images: The pool's I/O context.
        parent: The name of the parent.
        name: The name of the clone.
        size: Its virtual size in bytes, at least that of the parent.

    Raises:
        VolumeNotFound: The pool has no such parent that virtlayer has made.
        Internal: The parent is larger.
    """
    layer = describe_one(images, parent)
    if layer is None or not layer.made:
        raise _no_layer(parent)
    try:
        rbd.RBD().clone(
            *(images, parent, LAYER_SNAPSHOT, images, name),
            features=_features(),
            order=_CLONE_ORDER,
            # Otherwise that of the parent, which is larger than such an object.
            stripe_unit=1 << _CLONE_ORDER,
            stripe_count=1,
        )
    except rbd.ImageNotFound as error:
        raise _no_layer(parent) from error
    clone = _marked(images, name)
    if clone.size > size:
        raise Internal(f"An image of {size} bytes cannot be a clone of one of {clone.size} bytes.")
    if clone.size < size:
        with rbd.Image(images, name) as image:
            image.resize(size)


def finish_image(images: Any, name: str, *, snapshot: bool) -> None:
    """Finish an image that nobody writes to.

    Args:
        images: The pool's I/O context.
        name: Its name.
        snapshot: Whether other images can be clones of it.

    Raises:
        Internal: A client of the cluster has it open.
    """
    with rbd.Image(images, name) as image:
        # One of the watchers is this process.
        if len(list(image.watchers_list())) > 1:
            raise Internal(f'A client of the cluster still has the image "{name}" open.')
        if snapshot:
            image.create_snap(LAYER_SNAPSHOT)


def _no_layer(name: str) -> VolumeNotFound:
    return VolumeNotFound(f'The pool has no layer "{name}" that was made by virtlayer.')


def _marked(images: Any, name: str) -> RbdImage:
    """Mark an image that has just been made, as one of virtlayer."""
    image = describe_one(images, name)
    if image is None:
        raise Internal(f'The image "{name}" was deleted meanwhile.')
    mark(images, image.id)
    return image


def _features() -> int:
    # With object-map and fast-diff, `rbd du` and a deletion look only at objects that exist.
    return int(
        rbd.RBD_FEATURE_LAYERING
        | rbd.RBD_FEATURE_EXCLUSIVE_LOCK
        | rbd.RBD_FEATURE_OBJECT_MAP
        | rbd.RBD_FEATURE_FAST_DIFF
        | rbd.RBD_FEATURE_DEEP_FLATTEN
    )
