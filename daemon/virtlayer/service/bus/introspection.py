# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes introspection data (D-Bus Specification 0.43, "Introspection Data Format")."""

from collections.abc import Iterable
from xml.etree import ElementTree as ET  # it only writes here

from virtlayer.service.bus.members import Argument, Emits, Interface

_DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)

_EMITS_CHANGED = "org.freedesktop.DBus.Property.EmitsChangedSignal"


def describe(interfaces: Iterable[type[Interface]], children: Iterable[str]) -> str:
    """Return the XML of an object with these interfaces and child nodes."""
    node = ET.Element("node")
    for interface in interfaces:
        node.append(_interface(interface))
    for child in sorted(children):
        ET.SubElement(node, "node", name=child)
    ET.indent(node)
    return _DOCTYPE + ET.tostring(node, encoding="unicode") + "\n"


def _interface(interface: type[Interface]) -> ET.Element:
    element = ET.Element("interface", name=interface.interface)
    for method in interface.methods.values():
        child = ET.SubElement(element, "method", name=method.name)
        _add_arguments(child, method.takes, {"direction": "in"})
        _add_arguments(child, method.gives, {"direction": "out"})
    for signal in interface.signals.values():
        _add_arguments(ET.SubElement(element, "signal", name=signal.name), signal.carries, {})
    for member in interface.properties.values():
        child = ET.SubElement(
            element, "property", name=member.name, type=member.signature, access="read"
        )
        if member.emits is not Emits.VALUE:
            ET.SubElement(child, "annotation", name=_EMITS_CHANGED, value=member.emits)
    return element


def _add_arguments(
    element: ET.Element, arguments: Iterable[Argument], direction: dict[str, str]
) -> None:
    for argument in arguments:
        named = {"name": argument.name, "type": argument.signature}
        ET.SubElement(element, "arg", named | direction)
