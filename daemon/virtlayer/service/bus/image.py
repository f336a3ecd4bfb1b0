# SPDX-License-Identifier: LGPL-2.1-or-later
"""``org.virtlayer1.Image``: the images of the catalog as objects."""

import asyncio
import dataclasses
from collections.abc import Collection
from dataclasses import dataclass

from virtlayer.cancellation import to_completion
from virtlayer.dbus import names
from virtlayer.errors import VirtlayerError
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.exporter import Exporter
from virtlayer.service.bus.looks import Looks
from virtlayer.service.bus.members import Interface, dbus_property, method
from virtlayer.service.catalog.catalog import Catalog, CatalogImage, Version
from virtlayer.service.operations.wholeness import Wholeness
from virtlayer.sizes import KIB

_CONFIG_LIMIT = 64 * KIB
"""Bytes of a config that is a property: one message has the properties of all images. A config can
have 8 MiB."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The data of an image object.

    Attributes:
        record: The image.
        former: The former versions of its name, the newest first.
        broken: The problem of its layers and how to repair it; "" if none is known.
    """

    record: CatalogImage
    former: tuple[Version, ...] = ()
    broken: str = ""


class ImageObject(Interface):
    """An image."""

    interface = names.IMAGE

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self._shown = shown

    @property
    def record(self) -> CatalogImage:
        """The image as it is in the catalog."""
        return self._shown.record

    @property
    def owners(self) -> Collection[int]:
        """The users who pulled it."""
        return self.record.pulled_by

    def update(self, shown: Shown) -> None:
        """Set the present data of the catalog, and signal the changes."""
        if shown == self._shown:
            return
        before = self._values()
        self._shown = shown
        after = self._values()
        self.announce(*(name for name, value in after.items() if value != before[name]))

    def set_broken(self, broken: str) -> None:
        """Set the problem of its layers; "" if none is known."""
        self.update(dataclasses.replace(self._shown, broken=broken))

    def _values(self) -> dict[str, object]:
        """Return the values of the properties, by the names of the functions that read them."""
        functions = [member.function for member in self.properties.values()]
        return {function: getattr(self, function)() for function in functions}

    @dbus_property("Name", "s")
    def name(self) -> str:
        """Its name in the pool."""
        return self.record.name

    @dbus_property("Pool", "s")
    def pool(self) -> str:
        """The pool of its volumes."""
        return self.record.pool

    @dbus_property("Source", "s", private=True)
    def source(self) -> str:
        """The source that it was pulled from."""
        return self.record.source

    @dbus_property("Digest", "s", private=True)
    def digest(self) -> str:
        """The digest of its manifest."""
        return self.record.digest

    @dbus_property("ImageId", "s", private=True)
    def image_id(self) -> str:
        """The digest of its config."""
        return self.record.image_id

    @dbus_property("Os", "s")
    def os(self) -> str:
        """The operating system that it is for."""
        return self.record.os

    @dbus_property("Architecture", "s")
    def architecture(self) -> str:
        """The processor architecture that it is for."""
        return self.record.architecture

    @dbus_property("Volume", "s")
    def volume(self) -> str:
        """The top volume."""
        return self.record.volume

    @dbus_property("Layers", "a(sst)", private=True, bulky=True)
    def layers(self) -> tuple[tuple[str, str, int], ...]:
        """Diff id, volume and bytes of each layer, base first."""
        return tuple((layer.diff_id, layer.volume, layer.bytes) for layer in self.record.layers)

    @dbus_property("Config", "s", private=True, bulky=True)
    def config(self) -> str:
        """The OCI config, as JSON, unless it is large."""
        config = self.record.config
        return config if len(config.encode()) <= _CONFIG_LIMIT else ""

    @method("GetConfig", gives={"config": "s"}, private=True)
    async def get_config(self, _call: Call) -> str:
        """Return the OCI config of any size."""
        return self.record.config

    @dbus_property("PolicyScope", "s", private=True)
    def policy_scope(self) -> str:
        """The scope of the signature policy that accepted it."""
        return self.record.policy_scope

    @dbus_property("UnsignedAccepted", "b")
    def unsigned_accepted(self) -> bool:
        """Whether that scope accepted unsigned images."""
        return self.record.unsigned_accepted

    @dbus_property("Size", "t")
    def size(self) -> int:
        """The virtual size in bytes."""
        return self.record.size

    @dbus_property("PulledAt", "t")
    def pulled_at(self) -> int:
        """When it was pulled."""
        return self.record.pulled_at

    @dbus_property("Broken", "s")
    def broken(self) -> str:
        """The problem of its layers."""
        return self._shown.broken

    @dbus_property("FormerVersions", "a(sssttb)", private=True, bulky=True)
    def former_versions(self) -> tuple[tuple[str, str, str, int, int, bool], ...]:
        """The former versions of the name that are not pruned."""
        return tuple(
            (one.source, one.digest, one.volume, one.pulled_at, one.replaced_at, one.kept)
            for one in self._shown.former
        )


class ImageObjects:
    """Keeps one object for every image of the catalog."""

    def __init__(self, catalog: Catalog, exporter: Exporter, wholeness: Wholeness) -> None:
        self._catalog = catalog
        self._exporter = exporter
        self._wholeness = wholeness
        self._objects: dict[int, ImageObject] = {}
        self._looks = Looks(self._look)
        self._broken: dict[str, dict[str, str]] = {}
        """The problems of images, by pool and name, as of the last checks."""
        self._refreshing = asyncio.Lock()
        """Held so that an older list does not replace a newer one."""

    async def refresh(self) -> None:
        """Update the objects of the images that have changed in the catalog."""
        # The catalog names a change once.
        await to_completion(self._refresh())

    async def _refresh(self) -> None:
        async with self._refreshing:
            changed = await self._catalog.changed()
            for number in changed.gone & self._objects.keys():
                del self._objects[number]
                self._exporter.unexport(names.image_path(number))
            for record in changed.images:
                broken = self._broken.get(record.pool, {}).get(record.name, "")
                self._show(Shown(record, changed.former[record.id], broken))

    def _show(self, shown: Shown) -> None:
        number = shown.record.id
        if number in self._objects:
            self._objects[number].update(shown)
        else:
            self._objects[number] = ImageObject(shown)
            self._exporter.export(names.image_path(number), self._objects[number])

    async def look(self, pool: str) -> None:
        """Check the layers of the images of a pool; of every pool for an empty name."""
        await self._looks.at({record.pool for record in self.records(pool)})

    async def look_after_pull(self, pool: str) -> None:
        """Check a pool again if layers were missing there: a pull may have built them."""
        if self._broken.get(pool):
            await self.look(pool)

    async def close(self) -> None:
        """Stop the checks."""
        await self._looks.close()

    async def _look(self, pool: str) -> None:
        try:
            broken = await self._wholeness.look(pool, self.records(pool))
        except VirtlayerError:
            # The content of the pool is unknown: it is not active, or cannot be reached.
            broken = {}
        if broken != self._broken.get(pool, {}):
            self._broken[pool] = broken
            for image in self._objects.values():
                if image.record.pool == pool:
                    image.set_broken(broken.get(image.record.name, ""))

    def records(self, pool: str) -> list[CatalogImage]:
        """Return the images of a pool; of every pool for an empty name."""
        return [image.record for image in self._objects.values() if pool in {"", image.record.pool}]
