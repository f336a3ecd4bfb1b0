# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images with large configs or many layers: the list of all objects can still be read."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bus.daemon import ROOT, UNKNOWN_POOL, virtlayerd
from tests.support.bus_daemon import Bus
from tests.support.records import digest, image_record, layer_name, remember
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.records.values import ImageLayer, ImageRecord

IMAGE = "org.virtlayer1.Image"
PROPERTIES = "org.freedesktop.DBus.Properties"
LARGE, SMALL = 3_900_000, 64 * 1024


def config_of(size: int) -> str:
    """A config of so many bytes."""
    empty = json.dumps({"config": {"Env": ["X="]}})
    return json.dumps({"config": {"Env": [f"X={'x' * (size - len(empty))}"]}})


def large(number: int, config: str, layers: int = 1) -> ImageRecord:
    layer = ImageLayer(digest("layer"), layer_name("top"), 1)
    return image_record(name=f"large:{number}", config=config, layers=(layer,) * layers)


async def filled(state: Path, records: Sequence[ImageRecord]) -> list[str]:
    """Make a catalog with images; the paths of their objects."""
    async with Catalog(state / "catalog.sqlite") as catalog:
        await remember(catalog, UNKNOWN_POOL, *records)
        numbers = {image.name: image.id for image in await catalog.list()}
    return [f"{ROOT}/image/{numbers[record.name]}" for record in records]


async def test_nine_large_configs_do_not_break_the_list_of_objects(
    bus: Bus, tmp_path: Path
) -> None:
    configs = [config_of(LARGE)] * 9 + [config_of(SMALL), config_of(SMALL + 1)]
    images = [large(number, config) for number, config in enumerate(configs)]
    paths = dict(zip(await filled(tmp_path / "state", images), configs, strict=True))
    async with virtlayerd(bus, tmp_path, missing_pools=[UNKNOWN_POOL]) as daemon:
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
    text = config_of(config)
    images = [large(one, text, layers) for one in range(number)]
    paths = await filled(tmp_path / "state", images)
    async with virtlayerd(bus, tmp_path, missing_pools=[UNKNOWN_POOL]) as daemon:
        objects = await daemon.ask(
            "GetManagedObjects", interface="org.freedesktop.DBus.ObjectManager"
        )
        assert len(objects) == number
        shown = [one[IMAGE] for one in objects.values()]
        assert {one["Name"].value for one in shown} == {f"large:{one}" for one in range(number)}
        assert "Config" in shown[0]
        assert shown[-1].keys().isdisjoint({"Config", "Layers"})
        [values] = await daemon.client.ask(
            "org.virtlayer1", paths[-1], PROPERTIES, "GetAll", "s", [IMAGE]
        )
        assert values["Config"].value == text
        assert len(values["Layers"].value) == layers
