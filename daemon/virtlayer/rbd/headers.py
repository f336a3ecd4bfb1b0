# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes images by their header objects, and marks them there. The functions block.

Opening an image takes librbd 4 ms, most of it processor time, and as much for each image that it is
a clone of. It fails if the user may not read the pool of the parent. Size, parent and metadata are
keys in the omap of its header object, ``rbd_header.ID``, and reading these takes 0.3 ms. The
formats are those of ``cls/rbd`` in Ceph's source ("size", "parent" as ``cls_rbd_parent``), which
every client of RBD reads, that of the kernel as well. What cannot be decoded is left to librbd.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from virtlayer.protocol.rbd import RbdImage
from virtlayer.rbd.binding import rados, rbd
from virtlayer.rbd.directory import decoded_text, encoded_text, ids_of, names_of
from virtlayer.rbd.images import describe
from virtlayer.rbd.names import MARK

_HEADER = "rbd_header."
_SIZE = b"size"
_PARENT = b"parent"
_MARK = f"metadata_{MARK}".encode()
_NUMBER = struct.Struct("<Q")
_PARENT_BEGIN = struct.Struct("<BBIqI")
"""Its version, the oldest version that can read it, its length, pool, length of a namespace."""
_COUNT = struct.Struct("<I")
_PARENT_END = struct.Struct("<Q?")
"""The snapshot, and whether the image itself has data of the parent."""
_VERSION = 2


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header of an image says.

    Attributes:
        size: In bytes.
        parent: The id of the image in the same pool that it is a clone of; None if of none.
        made: Whether virtlayer has made it.
    """

    size: int
    parent: str | None
    made: bool


def describe_by_headers(
    images: Any, names: Iterable[str], ids: Mapping[str, str], pool_id: int
) -> list[RbdImage]:
    """Describe images; those that no longer exist are left out.

    Args:
        images: The pool's I/O context.
        names: The names of the images.
        ids: The ids of these images, by their names. Parents that it lacks are looked up.
        pool_id: The number of the pool.

    Raises:
        rbd.Error: The cluster does not answer, or refuses it.
        rados.Error: The same.
    """
    headers = {name: _header(images, ids[name], pool_id) for name in names}
    by_id = {image_id: name for name, image_id in ids.items()}
    parents = {one.parent for one in headers.values() if one is not None and one.parent is not None}
    if unknown := parents - by_id.keys():
        by_id |= names_of(images, unknown)
    found = []
    for name, header in headers.items():
        # A parent that is not among the images is in the trash.
        if header is None or (header.parent is not None and header.parent not in by_id):
            image = _by_librbd(images, name, ids[name])
        else:
            parent = "" if header.parent is None else by_id[header.parent]
            image = RbdImage(name, ids[name], header.size, parent, header.made)
        if image is not None:
            found.append(image)
    return found


def describe_one(images: Any, name: str) -> RbdImage | None:
    """Describe an image; None if there is none of that name.

    Args:
        images: The pool's I/O context.
        name: Its name.

    Raises:
        rbd.Error: The cluster does not answer, or refuses it.
        rados.Error: The same.
    """
    ids = ids_of(images, [name])
    if not ids:
        # One of the first format of RBD is not in that list.
        return describe(images, name)
    return next(iter(describe_by_headers(images, ids, ids, images.get_pool_id())), None)


def mark(images: Any, image_id: str) -> None:
    """Note in the metadata of an image that virtlayer has made it.

    It is what librbd does, but for opening the image: nobody else has it open yet.

    Args:
        images: The pool's I/O context.
        image_id: The id of the image.

    Raises:
        rados.Error: The cluster does not answer, or refuses it.
    """
    pair = encoded_text(MARK.encode()) + encoded_text(image_id.encode())
    images.execute(_HEADER + image_id, "rbd", "metadata_set", _COUNT.pack(1) + pair)


def _by_librbd(images: Any, name: str, image_id: str) -> RbdImage | None:
    try:
        return describe(images, name)
    except (rbd.Timeout, rbd.ConnectionShutdown):
        raise
    except rbd.Error:
        # One that cannot be opened must not hide the others.
        return RbdImage(name, image_id, 0, "", made=False)


def _header(images: Any, image_id: str, pool_id: int) -> _Header | None:
    """Read the header of an image; None if that is not possible."""
    with rados.ReadOpCtx() as reading:
        pairs, _ = images.get_omap_vals_by_keys(
            reading, (_SIZE, _PARENT, _MARK), omap_key_type=bytes
        )
        try:
            images.operate_read_op(reading, _HEADER + image_id)
        except rados.ObjectNotFound:
            return None
        values = dict(pairs)
    try:
        [size] = _NUMBER.unpack(values[_SIZE])
        parent = _parent(values[_PARENT], pool_id) if _PARENT in values else None
    except (KeyError, ValueError, struct.error):
        return None
    return _Header(size, parent, made=values.get(_MARK) == image_id.encode())


def _parent(value: bytes, pool_id: int) -> str | None:
    """The id of the parent in a header; None if there is none, or if it is in another pool.

    Raises:
        ValueError: It has another format.
        struct.error: It is too short.
    """
    _, oldest, _, pool, namespace_length = _PARENT_BEGIN.unpack_from(value)
    if oldest != _VERSION:
        raise ValueError("another format")
    if pool != pool_id or namespace_length:
        return None
    image_id = decoded_text(value, _PARENT_BEGIN.size)
    end = _PARENT_BEGIN.size + len(encoded_text(image_id))
    _, has_overlap = _PARENT_END.unpack_from(value, end)
    # Without an overlap, only snapshots still have a parent.
    return image_id.decode("ascii") if has_overlap else None
