# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images with large configs or many layers: the list of all objects can still be read."""

import json
from pathlib import Path

import pytest

from tests.bus.daemon import ROOT, virtlayerd
from tests.support.bus_daemon import Bus
from virtlayer.service.catalog.catalog import Catalog, ImageLayer, ImageRecord

IMAGE = "org.virtlayer1.Image"
PROPERTIES = "org.freedesktop.DBus.Properties"
LARGE, SMALL = 3_900_000, 64 * 1024


def config_of(size: int) -> str:
    """A config of so many bytes."""
    empty = json.dumps({"config": {"Env": ["X="]}})
    return json.dumps({"config": {"Env": [f"X={'x' * (size - len(empty))}"]}})


def record(number: int, config: str, layers: int = 0) -> ImageRecord:
    return ImageRecord(
        pool="default",
        name=f"large:{number}",
        source="docker://x.test/large",
        digest="sha256:" + "d" * 64,
        image_id="sha256:" + f"{number:064}",
        os="linux",
        architecture="amd64",
        variant="",
        config=config,
        size=64 * 1024**2,
        layers=tuple(ImageLayer("sha256:" + "e" * 64, "layer", 1) for _ in range(layers)),
        volume="layer",
        pulled_at=1,
    )


async def test_nine_large_configs_do_not_break_the_list_of_objects(
    bus: Bus, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    configs = [config_of(LARGE)] * 9 + [config_of(SMALL), config_of(SMALL + 1)]
    async with Catalog(tmp_path / "state" / "catalog.sqlite") as catalog:
        paths = {}
        for number, config in enumerate(configs):
            put = await catalog.put(record(number, config), keep=None)
            paths[f"{ROOT}/image/{put.id}"] = config
    async with virtlayerd(bus, tmp_path) as daemon:
        objects = await daemon.ask(
            "GetManagedObjects", interface="org.freedesktop.DBus.ObjectManager"
        )
        assert objects.keys() == paths.keys()
        for path, config in paths.items():
            shown = objects[path][IMAGE]["Config"].value
            assert shown == (config if len(config) <= SMALL else "")
            assert await daemon.ask("GetConfig", path=path, interface=IMAGE) == config
            [values] = await daemon.client.ask(
                "org.virtlayer1", path, PROPERTIES, "GetAll", "s", [IMAGE]
            )
            assert values["Config"].value == shown


@pytest.mark.parametrize(
    ("number", "config", "layers"), [(520, SMALL, 1), (8, 100, 30_000)], ids=["configs", "layers"]
)
async def test_many_images_do_not_break_the_list_of_objects(
    bus: Bus, tmp_path: Path, number: int, config: int, layers: int
) -> None:
    """Each property is small enough; all of them are too large for one message."""
    (tmp_path / "state").mkdir()
    text = config_of(config)
    async with Catalog(tmp_path / "state" / "catalog.sqlite") as catalog:
        put = [await catalog.put(record(one, text, layers), keep=None) for one in range(number)]
    async with virtlayerd(bus, tmp_path) as daemon:
        objects = await daemon.ask(
            "GetManagedObjects", interface="org.freedesktop.DBus.ObjectManager"
        )
        assert len(objects) == number
        shown = [one[IMAGE] for one in objects.values()]
        assert {one["Name"].value for one in shown} == {f"large:{one}" for one in range(number)}
        assert "Config" in shown[0]
        assert shown[-1].keys().isdisjoint({"Config", "Layers"})
        [values] = await daemon.client.ask(
            "org.virtlayer1", f"{ROOT}/image/{put[-1].id}", PROPERTIES, "GetAll", "s", [IMAGE]
        )
        assert values["Config"].value == text
        assert len(values["Layers"].value) == layers
