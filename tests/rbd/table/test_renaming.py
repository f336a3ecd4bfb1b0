# SPDX-License-Identifier: LGPL-2.1-or-later
"""An image that no client has open gets another name, as librbd would do it."""

from typing import Any

import pytest

from virtlayer.rbd.binding import rados, rbd
from virtlayer.rbd.renaming import rename_closed_image

_SIZE = 8 * 2**20


def _made(images: Any, name: str) -> str:
    rbd.RBD().create(images, name, _SIZE, old_format=False)
    with rbd.Image(images, name) as image:
        return str(image.id())


def _objects(images: Any) -> dict[str, bytes]:
    return {one.key: images.read(one.key) for one in images.list_objects() if "rbd_id." in one.key}


def test_librbd_finds_the_image_by_its_new_name_and_its_clone_too(images: Any) -> None:
    image_id = _made(images, "old")
    with rbd.Image(images, "old") as image:
        image.write(b"content", 0)
        image.create_snap("snapshot")
        image.protect_snap("snapshot")
    rbd.RBD().clone(images, "old", "snapshot", images, "clone", features=rbd.RBD_FEATURE_LAYERING)
    rename_closed_image(images, image_id, "old", "new")
    assert rbd.RBD().list(images) == ["clone", "new"]
    with rbd.Image(images, "new") as image:
        assert (image.id(), image.read(0, 7)) == (image_id, b"content")
    with rbd.Image(images, "clone") as image:
        assert image.get_parent_image_spec()["image_name"] == "new"
        image.flatten()
    ours = _objects(images)
    # What librbd leaves is the same.
    rbd.RBD().rename(images, "new", "other")
    rbd.RBD().rename(images, "other", "new")
    assert _objects(images) == ours
    with rbd.Image(images, "new") as image:
        image.unprotect_snap("snapshot")
        image.remove_snap("snapshot")


def test_no_image_is_replaced(images: Any) -> None:
    first, second = _made(images, "first"), _made(images, "second")
    before = _objects(images)
    with pytest.raises(rbd.ImageExists):
        rename_closed_image(images, first, "first", "second")
    images.write_full("third.rbd", b"the header of an image of the first format")
    with pytest.raises(rbd.ImageExists):
        rename_closed_image(images, second, "second", "third")
    images.remove_object("third.rbd")
    assert _objects(images) == before


def test_a_name_stays_free_if_the_image_is_missing(images: Any) -> None:
    image_id = _made(images, "image")
    before = _objects(images)
    with pytest.raises(rados.ObjectNotFound):
        rename_closed_image(images, image_id, "missing", "new")
    assert _objects(images) == before
    rename_closed_image(images, image_id, "image", "new")
    assert rbd.RBD().list(images) == ["new"]
