# SPDX-License-Identifier: LGPL-2.1-or-later
"""The interfaces that D-Bus itself defines ("Standard Interfaces", D-Bus Specification 0.43)."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

from dbus_next.signature import Variant

from virtlayer.dbus import names
from virtlayer.dbus.values import size_of
from virtlayer.service.bus.call import Call, StandardError
from virtlayer.service.bus.introspection import describe
from virtlayer.service.bus.members import Emits, Interface, method, signal
from virtlayer.service.bus.objects import Interfaces, ObjectTree, read, read_all
from virtlayer.service.bus.visibility import Viewer, Visibility, check_visible
from virtlayer.sizes import MIB

_OBJECTS_A_TURN = 64
"""The number of objects that are read in one turn of the event loop: about two milliseconds."""
_BULKY_ROOM = 16 * MIB
"""Bytes of a reply about all objects after which it leaves out bulky properties. A system bus
disconnects a sender of 32 MiB."""
_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class Peer(Interface):
    """``org.freedesktop.DBus.Peer``, which every path has, even without an object."""

    interface = names.PEER

    @method("Ping")
    async def ping(self, _call: Call) -> None:
        """Reply."""

    @method("GetMachineId", gives={"machine_uuid": "s"})
    async def get_machine_id(self, _call: Call) -> str:
        """Return the id of this machine."""
        return await asyncio.to_thread(_machine_id)


class Introspectable(Interface):
    """``org.freedesktop.DBus.Introspectable``, for objects and for the nodes above them."""

    interface = names.INTROSPECTABLE

    def __init__(self, tree: ObjectTree, path: str) -> None:
        super().__init__()
        self._tree = tree
        self._path = path

    @method("Introspect", gives={"xml_data": "s"})
    async def introspect(self, _call: Call) -> str:
        """Return what the object has, as XML."""
        interfaces = self._tree.get(self._path)
        kinds = [type(one) for one in interfaces.values()] if interfaces else [Introspectable, Peer]
        return describe(kinds, self._tree.children(self._path))


class Properties(Interface):
    """``org.freedesktop.DBus.Properties``; all properties are read-only."""

    interface = names.PROPERTIES

    def __init__(self, tree: ObjectTree, path: str, visibility: Visibility) -> None:
        super().__init__()
        self._tree = tree
        self._path = path
        self._visibility = visibility

    @method(
        "Get",
        takes={"interface_name": "s", "property_name": "s"},
        gives={"value": "v"},
    )
    async def get(self, call: Call, interface_name: str, property_name: str) -> Variant:
        """Return one value."""
        for interface in self._named(interface_name):
            if member := interface.properties.get(property_name):
                if member.private:
                    await check_visible(self._visibility, call, interface, property_name)
                return read(interface, member)
        raise _unknown_property(interface_name, property_name)

    @method("Set", takes={"interface_name": "s", "property_name": "s", "value": "v"})
    async def set(
        self, _call: Call, interface_name: str, property_name: str, _value: Variant
    ) -> None:
        """Refuse: every property is read-only."""
        for interface in self._named(interface_name):
            if property_name in interface.properties:
                raise StandardError("PropertyReadOnly", f'"{property_name}" is read-only.')
        raise _unknown_property(interface_name, property_name)

    @method("GetAll", takes={"interface_name": "s"}, gives={"props": "a{sv}"})
    async def get_all(self, call: Call, interface_name: str) -> dict[str, Variant]:
        """Return every value of an interface; of all interfaces for the empty name."""
        values: dict[str, Variant] = {}
        viewer = await self._visibility.viewer(call)
        for interface in self._named(interface_name):
            values |= read_all(interface, private=await _is_open(interface, viewer))
        return values

    @signal(
        "PropertiesChanged",
        interface_name="s",
        changed_properties="a{sv}",
        invalidated_properties="as",
    )
    def properties_changed(
        self, interface_name: str, changed: Mapping[str, Variant], invalidated: list[str]
    ) -> None:
        """Signal new values."""

    def announce_of(self, interface: Interface, functions: frozenset[str]) -> None:
        """Emit the signal for the properties that these functions read.

        Private values are left out if other users get the signal. Their names are sent as changed,
        so that users with the right can read them.
        """
        told = {
            name: member
            for name, member in interface.properties.items()
            if member.function in functions and member.emits is Emits.VALUE
        }
        hidden = [
            name
            for name, member in told.items()
            if member.private and not self._visibility.signals_are_private
        ]
        changed = {
            name: read(interface, member) for name, member in told.items() if name not in hidden
        }
        if told:
            self.properties_changed(interface.interface, changed, hidden)

    def _named(self, name: str) -> Iterator[Interface]:
        interfaces = self._tree.get(self._path)
        if interfaces is None:
            # It was removed while the call waited.
            raise StandardError("UnknownObject", f"No object {self._path}.")
        if name and name not in interfaces:
            raise StandardError("UnknownInterface", f'{self._path} has no interface "{name}".')
        return (one for one in interfaces.values() if name in {"", one.interface})


class ObjectManager(Interface):
    """``org.freedesktop.DBus.ObjectManager``, of the objects below this one."""

    interface = names.OBJECT_MANAGER

    def __init__(self, tree: ObjectTree, path: str, visibility: Visibility) -> None:
        super().__init__()
        self._tree = tree
        self._path = path
        self._visibility = visibility

    @method(
        "GetManagedObjects",
        gives={"objpath_interfaces_and_properties": "a{oa{sa{sv}}}"},
        large=True,
    )
    async def get_managed_objects(self, call: Call) -> dict[str, dict[str, dict[str, Variant]]]:
        """Return every object, with its interfaces and their properties."""
        viewer = await self._visibility.viewer(call)
        found: dict[str, dict[str, dict[str, Variant]]] = {}
        room = _BULKY_ROOM
        # Objects can be added and removed while polkit is asked, and other calls are served.
        for number, (path, interfaces) in enumerate(list(self._tree.below(self._path))):
            if number % _OBJECTS_A_TURN == 0:
                await asyncio.sleep(0)
            found[path] = {
                name: read_all(interface, private=await _is_open(interface, viewer), bulky=room > 0)
                for name, interface in _ours(interfaces).items()
            }
            room -= size_of(found[path])
        return found

    @signal("InterfacesAdded", object_path="o", interfaces_and_properties="a{sa{sv}}")
    def interfaces_added(self, path: str, interfaces: dict[str, dict[str, Variant]]) -> None:
        """Announce a new object."""

    @signal("InterfacesRemoved", object_path="o", interfaces="as")
    def interfaces_removed(self, path: str, interfaces: list[str]) -> None:
        """Announce that an object no longer exists."""

    def announce_added(self, path: str, interfaces: Interfaces) -> None:
        """Emit InterfacesAdded."""
        private = self._visibility.signals_are_private
        self.interfaces_added(
            path,
            {
                name: read_all(interface, private=private)
                for name, interface in _ours(interfaces).items()
            },
        )

    def announce_removed(self, path: str, interfaces: Interfaces) -> None:
        """Emit InterfacesRemoved."""
        self.interfaces_removed(path, list(_ours(interfaces)))


def standard_interfaces(tree: ObjectTree, path: str, visibility: Visibility) -> Interfaces:
    """Return the interfaces that every object has in addition to its own."""
    return {
        names.PEER: Peer(),
        names.INTROSPECTABLE: Introspectable(tree, path),
        names.PROPERTIES: Properties(tree, path, visibility),
    }


def bare_interfaces(tree: ObjectTree, path: str) -> Interfaces:
    """Return the interfaces of a path without an object: more, if objects are below it."""
    if tree.children(path):
        return {names.PEER: Peer(), names.INTROSPECTABLE: Introspectable(tree, path)}
    return {names.PEER: Peer()}


async def _is_open(interface: Interface, viewer: Viewer) -> bool:
    """Return whether a caller may read the private properties of an interface."""
    has_private = any(member.private for member in interface.properties.values())
    return not has_private or await viewer.sees(interface.owners)


def _ours(interfaces: Interfaces) -> Interfaces:
    return {
        name: interface
        for name, interface in interfaces.items()
        if not name.startswith("org.freedesktop.DBus.")
    }


def _unknown_property(interface: str, name: str) -> StandardError:
    return StandardError("UnknownProperty", f'"{interface}" has no property "{name}".')


def _machine_id() -> str:
    for path in _MACHINE_ID_FILES:
        if path.exists():
            return path.read_text(encoding="ascii").strip()
    raise StandardError("FileNotFound", "This host has no machine ID (machine-id(5)).")
