# SPDX-License-Identifier: LGPL-2.1-or-later
"""How much of a large pool libvirt describes when its layers are looked for."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

from tests.support.records import image_record, layer_name
from virtlayer.protocol.calls import FileStamp
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.catalog.catalog import CatalogImage
from virtlayer.service.keeper.pools import Pools
from virtlayer.service.operations.wholeness import Wholeness

POOL = Pool("p", "01234567-89ab-cdef-0123-456789abcdef", "dir", Path("/p"))
SIZE = 1 << 26


class ManyLayers:
    """A pool that counts what is asked of it."""

    def __init__(self, names: Iterable[str]) -> None:
        self.stamps = {name: FileStamp(number, 1) for number, name in enumerate(names)}
        self.formats = dict.fromkeys(self.stamps, "qcow2")
        self.described: list[int] = []

    async def get(self, _name: str) -> Pool:
        return POOL

    async def files(self, _pool: Pool, names: Iterable[str]) -> dict[str, FileStamp]:
        return {name: self.stamps[name] for name in names if name in self.stamps}

    async def volumes(self, _pool: Pool, names: Iterable[str]) -> dict[str, Volume]:
        wanted = [name for name in names if name in self.stamps]
        self.described.append(len(wanted))
        return {
            name: Volume(name, POOL.path / name, self.formats[name], SIZE, 1, None, None)
            for name in wanted
        }


def images(number: int) -> list[CatalogImage]:
    """Images of a common base and a layer of their own each."""
    made = []
    for index in range(number):
        record = image_record(f"top {index}", name=f"image-{index}")
        fields = {name: getattr(record, name) for name in _FIELDS}
        made.append(CatalogImage(**fields, id=index, pool="p"))
    return made


_FIELDS = (
    *("name", "source", "digest", "image_id", "os", "architecture", "variant", "config", "size"),
    *("layers", "volume", "pulled_at"),
)


async def test_many_layers_are_described_in_several_looks_and_then_never_again() -> None:
    shown = images(400)
    pool = ManyLayers({name for image in shown for name in image.volumes})
    wholeness = Wholeness(cast("Pools", pool), "test:///default")
    for _ in range(4):
        assert await wholeness.look("p", shown) == {}
    assert pool.described == [256, 145, 0, 0]


async def test_one_layer_that_has_changed_is_described_again() -> None:
    shown = images(3)
    pool = ManyLayers({name for image in shown for name in image.volumes})
    wholeness = Wholeness(cast("Pools", pool), "test:///default")
    assert await wholeness.look("p", shown) == {}
    changed, missing = layer_name("top 1"), layer_name("top 2")
    pool.stamps[changed] = FileStamp(99, 2)
    pool.formats[changed] = "raw"
    del pool.stamps[missing]
    broken = await wholeness.look("p", shown)
    assert broken.keys() == {"image-1", "image-2"}
    delete = f"virsh --connect test:///default vol-delete {changed} --pool p"
    assert (delete in broken["image-1"], "is missing" in broken["image-2"]) == (True, True)
    assert pool.described[-1] == 1
    # It is described until it is a layer again.
    pool.formats[changed] = "qcow2"
    assert (await wholeness.look("p", shown)).keys() == {"image-2"}


async def test_missing_base_breaks_all_images_even_if_many_are_not_described_yet() -> None:
    shown = images(400)
    pool = ManyLayers({name for image in shown for name in image.volumes})
    del pool.stamps[layer_name("base")]
    broken = await Wholeness(cast("Pools", pool), "test:///default").look("p", shown)
    assert len(broken) == 400


async def test_missing_only_layer_is_not_counted() -> None:
    record = image_record("alone", name="image")
    fields = {name: getattr(record, name) for name in _FIELDS} | {"layers": record.layers[-1:]}
    shown = [CatalogImage(**fields, id=1, pool="p")]
    assert await Wholeness(cast("Pools", ManyLayers([])), "test:///default").look("p", shown) == {
        "image": 'The image "image" is broken: its only layer volume is missing in the pool "p". '
        "Pull the image again: only what is missing is built."
    }
