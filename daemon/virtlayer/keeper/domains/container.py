# SPDX-License-Identifier: LGPL-2.1-or-later
"""Composes the XML of a container of libvirt-LXC, whose root is a directory of a pool.

Its ids are always mapped. Our init, its configuration and the file of its output are bind-mounted;
the last two belong to the user who is root in the container.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from virtlayer.boot_tools import INIT, busybox
from virtlayer.errors import Unsupported
from virtlayer.keeper.domains.devices import add_interface
from virtlayer.keeper.domains.xml import add_general, as_text
from virtlayer.protocol.domain_files import config_file, output_file
from virtlayer.protocol.domains import DefineDomain, IdMap, Network, NetworkKind

_IN_CONTAINER = "/dev/virtlayer-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container to be described.

    Attributes:
        request: What the service asked for.
        disk: Its directory.
        ids: Its ids.
        network: Its network, not DEFAULT or USER.
        directory: The directory of the pool, as libvirt names it.
    """

    request: DefineDomain
    disk: str
    ids: IdMap
    network: Network
    directory: Path


def container_xml(container: Container) -> str:
    """Return the description of a container."""
    request, directory = container.request, container.directory
    domain = Element("domain", type="lxc")
    add_general(domain, request)
    _add_ids(domain, container.ids)
    has_network = container.network.kind is not NetworkKind.NONE
    files = {"config": directory / config_file(request.uuid)}
    files["output"] = directory / output_file(request.uuid)
    if has_network:
        files |= _busybox()
    _add_init(SubElement(domain, "os"), files)
    # Without it, a container without an interface would have the network of the host.
    SubElement(SubElement(domain, "features"), "privnet")
    for end in ("on_poweroff", "on_reboot", "on_crash"):
        SubElement(domain, end).text = "destroy"
    devices = SubElement(domain, "devices")
    _add_mount(devices, directory / container.disk, "/", read_only=False)
    _add_mount(devices, INIT, f"{_IN_CONTAINER}init", read_only=True)
    for name, file in files.items():
        _add_mount(devices, file, f"{_IN_CONTAINER}{name}", read_only=name != "output")
    add_interface(devices, container.network)
    SubElement(devices, "console", type="pty")
    return as_text(domain)


def _busybox() -> dict[str, Path]:
    try:
        return {"busybox": busybox()}
    except Unsupported:
        # Then the container has the interface, and no address.
        return {}


def _add_ids(domain: Element, ids: IdMap) -> None:
    id_map = SubElement(domain, "idmap")
    for tag in ("uid", "gid"):
        SubElement(id_map, tag, start="0", target=str(ids.base), count=str(ids.count))


def _add_init(system: Element, files: dict[str, Path]) -> None:
    SubElement(system, "type").text = "exe"
    SubElement(system, "init").text = f"{_IN_CONTAINER}init"
    for argument in ("--container", *(f"{_IN_CONTAINER}{name}" for name in files)):
        SubElement(system, "initarg").text = argument


def _add_mount(devices: Element, source: Path, target: str, *, read_only: bool) -> None:
    mount = SubElement(devices, "filesystem", type="mount")
    SubElement(mount, "source", dir=str(source))
    SubElement(mount, "target", dir=target)
    if read_only:
        SubElement(mount, "readonly")
