# SPDX-License-Identifier: LGPL-2.1-or-later
"""The exported objects, and the values of their properties."""

import logging
from collections.abc import Iterator, Mapping

from dbus_next.signature import Variant

from virtlayer.dbus.values import wire_value
from virtlayer.service.bus.members import Interface, Property

_log = logging.getLogger(__name__)

type Interfaces = Mapping[str, Interface]


class ObjectTree:
    """The exported objects by their paths."""

    def __init__(self) -> None:
        self._objects: dict[str, Interfaces] = {}

    def add(self, path: str, interfaces: Interfaces) -> None:
        """Add an object."""
        assert path not in self._objects, f"{path} is exported twice"
        self._objects[path] = interfaces

    def remove(self, path: str) -> Interfaces:
        """Remove an object, and return its interfaces."""
        return self._objects.pop(path)

    def get(self, path: str) -> Interfaces | None:
        """Return the interfaces of the object, or None if there is none at that path."""
        return self._objects.get(path)

    def below(self, path: str) -> Iterator[tuple[str, Interfaces]]:
        """Yield the objects below this path."""
        prefix = path.rstrip("/") + "/"
        for candidate, interfaces in self._objects.items():
            if candidate.startswith(prefix) and candidate != path:
                yield candidate, interfaces

    def children(self, path: str) -> set[str]:
        """Return the names of the nodes directly below this path."""
        prefix = path.rstrip("/") + "/"
        return {candidate[len(prefix) :].split("/")[0] for candidate, _ in self.below(path)}


def read(interface: Interface, member: Property) -> Variant:
    """Return the value of a property."""
    value = getattr(interface, member.function)()
    return Variant(member.signature, wire_value(value))


def read_all(interface: Interface, *, private: bool, bulky: bool = True) -> dict[str, Variant]:
    """Return the values of all properties; one that cannot be read does not hide the others.

    Args:
        interface: Has the properties.
        private: Whether private ones are returned, too.
        bulky: Whether bulky ones are returned, too.
    """
    values: dict[str, Variant] = {}
    for name, member in interface.properties.items():
        if (member.private and not private) or (member.bulky and not bulky):
            continue
        try:
            values[name] = read(interface, member)
        except Exception:  # any error of a getter: the other values are valid
            _log.exception("The property %s.%s cannot be read.", interface.interface, name)
    return values
