# SPDX-License-Identifier: LGPL-2.1-or-later
"""``org.virtlayer1.Image``: the images of the catalog as objects."""

from collections.abc import Collection

from virtlayer.dbus import names
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.exporter import Exporter
from virtlayer.service.bus.members import Interface, dbus_property, method
from virtlayer.service.catalog.catalog import Catalog, ImageRecord
from virtlayer.sizes import KIB

_CONFIG_LIMIT = 64 * KIB
"""Bytes of a config that is a property: one message has the properties of all images. A config can
have 8 MiB."""


class ImageObject(Interface):
    """An image. The functions of its properties are called like the record's fields."""

    interface = names.IMAGE

    def __init__(self, record: ImageRecord) -> None:
        super().__init__()
        self.record = record

    @property
    def owners(self) -> Collection[int]:
        """The users who pulled it."""
        return self.record.pulled_by

    def update(self, record: ImageRecord) -> None:
        """Show what the catalog has now, and tell what is new in it."""
        before, self.record = self.record, record
        self.announce(
            *(
                member.function
                for member in self.properties.values()
                if getattr(before, member.function) != getattr(record, member.function)
            )
        )

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
        """Where it came from."""
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
        """The processor that it is for."""
        return self.record.architecture

    @dbus_property("Volume", "s")
    def volume(self) -> str:
        """The top volume."""
        return self.record.volume

    @dbus_property("Layers", "a(sst)", private=True, bulky=True)
    def layers(self) -> tuple[tuple[str, str, int], ...]:
        """Diff id, volume and bytes of each layer, base first."""
        return self.record.layers

    @dbus_property("Config", "s", private=True, bulky=True)
    def config(self) -> str:
        """The OCI config, as JSON, unless it is large."""
        config = self.record.config
        return config if len(config.encode()) <= _CONFIG_LIMIT else ""

    @method("GetConfig", gives={"config": "s"}, private=True)
    async def get_config(self, _call: Call) -> str:
        """Return the OCI config, however large it is."""
        return self.record.config

    @dbus_property("PolicyScope", "s", private=True)
    def policy_scope(self) -> str:
        """Which scope of the signature policy accepted it."""
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


class ImageObjects:
    """Keeps one object for every image of the catalog."""

    def __init__(self, catalog: Catalog, exporter: Exporter) -> None:
        self._catalog = catalog
        self._exporter = exporter
        self._objects: dict[int, ImageObject] = {}

    async def refresh(self) -> None:
        """Make the objects those of the catalog."""
        records = {record.id: record for record in await self._catalog.list()}
        for number in self._objects.keys() - records.keys():
            del self._objects[number]
            self._exporter.unexport(names.image_path(number))
        for number, record in records.items():
            if number in self._objects:
                self._objects[number].update(record)
            else:
                self._objects[number] = ImageObject(record)
                self._exporter.export(names.image_path(number), self._objects[number])

    def records(self, pool: str) -> list[ImageRecord]:
        """Return the images of a pool, or of every pool for the empty name."""
        return [image.record for image in self._objects.values() if pool in {"", image.record.pool}]
