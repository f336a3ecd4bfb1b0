# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files in dbus/ describe the interfaces of a running daemon."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bus.daemon import ROOT, SERVICE, virtlayerd
from tests.support.bus_daemon import Bus
from virtlayer.service.bus.image import ImageObject
from virtlayer.service.bus.introspection import describe
from virtlayer.service.bus.job import JobObject
from virtlayer.service.bus.manager import Manager
from virtlayer.service.bus.members import Interface
from virtlayer.version import VERSION

FILES = Path(__file__).parent.parent.parent / "dbus"


def shape(interface: ET.Element) -> list[str]:
    """Everything in an interface that matters on the bus, in order within its members."""
    members = []
    for member in interface:
        if isinstance(member.tag, str):
            parts = [f"{child.tag} {sorted(child.attrib.items())}" for child in member]
            members.append(f"{member.tag} {sorted(member.attrib.items())}: {parts}")
    return sorted(members)


def interfaces(xml: str) -> dict[str, list[str]]:
    root = ET.fromstring(xml)  # noqa: S314 -- ours
    return {found.get("name", ""): shape(found) for found in root.findall("interface")}


@pytest.mark.parametrize("kind", [Manager, JobObject, ImageObject])
def test_a_file_and_the_code_say_the_same(kind: type[Interface]) -> None:
    name = kind.interface
    file = (FILES / f"{name}.xml").read_text()
    assert interfaces(file)[name] == interfaces(describe([kind], []))[name]


@pytest.mark.parametrize("kind", [Manager, JobObject, ImageObject])
def test_every_member_is_documented_in_its_file(kind: type[Interface]) -> None:
    file = (FILES / f"{kind.interface}.xml").read_text()
    for member in (*kind.methods, *kind.signals, *kind.properties):
        assert re.search(rf"<!--\s+{member}:", file), member


WITHOUT_SINCE = {
    Manager: (
        "Pull CreateVolume Inspect RemoveImage Prune Populate Rescan DescribeVolume ListConfigured "
        "ListJobs ListImages JobAdded Version LibvirtUri"
    ),
    JobObject: (
        "Cancel ProgressChanged Finished Id Kind Source Pool State Stage Progress BytesDone "
        "BytesTotal LayersDone LayersTotal Error Message Result StartedBy StartedAt FinishedAt"
    ),
    ImageObject: (
        "Name Pool Source Digest ImageId Os Architecture Volume Layers Config Size PulledAt"
    ),
}
"""The members of the first interface. No member is added here."""


@pytest.mark.parametrize("kind", [Manager, JobObject, ImageObject])
def test_newer_members_have_a_since_version(kind: type[Interface]) -> None:
    file = (FILES / f"{kind.interface}.xml").read_text()
    members = {*kind.methods, *kind.signals, *kind.properties}
    for member in members - set(WITHOUT_SINCE[kind].split()):
        [comment] = re.findall(rf"<!--\s+{member}:.*?-->", file, re.DOTALL)
        [since] = re.findall(r"\n\n +Since: ([0-9.]+)\s", comment)
        assert tuple(map(int, since.split("."))) <= tuple(map(int, VERSION.split("."))), member


async def test_the_root_object_is_the_one_in_the_file(bus: Bus, tmp_path: Path) -> None:
    async with virtlayerd(bus, tmp_path) as daemon:
        live = interfaces(
            await daemon.ask("Introspect", interface="org.freedesktop.DBus.Introspectable")
        )
        file = interfaces((FILES / "org.virtlayer1.Manager.xml").read_text())
        standard = {
            f"org.freedesktop.DBus.{name}"
            for name in ("Introspectable", "ObjectManager", "Peer", "Properties")
        }
        assert live.keys() == file.keys() | standard
        assert live["org.virtlayer1.Manager"] == file["org.virtlayer1.Manager"]


def test_the_activation_files_name_the_service() -> None:
    for folder, command in (
        ("services", "/usr/bin/virtlayerd --session --exit-when-idle"),
        # Without systemd there is no socket of the keeper.
        ("system-services", "/bin/false"),
    ):
        lines = (FILES / folder / f"{SERVICE}.service").read_text().splitlines()
        assert f"Name={SERVICE}" in lines
        assert f"Exec={command}" in lines
    assert "/" + SERVICE.replace(".", "/") == ROOT
