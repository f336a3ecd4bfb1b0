# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains are defined from volumes of ours only, and leave nothing when that fails."""

import stat
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.domains.requests import Machines, any_uuid
from tests.keeper.requests import claim_of
from tests.support.libvirt_host import LibvirtHost


def test_defined_machine_has_what_was_asked_for(machines: Machines, host: LibvirtHost) -> None:
    disk, boot = machines.disk(), machines.boot_volumes()
    own = machines.made(
        b"the configuration",
        disk=disk,
        name="web",
        boot="own-initrd",
        has_config=True,
        has_streams=True,
        processors=2,
        os_id="http://debian.org/debian/13",
        **boot,
    )
    root = ElementTree.fromstring(host.virsh("dumpxml", "--inactive", "web"))  # noqa: S314 -- libvirt wrote it
    pool = machines.pool.path
    assert root.get("type") == "qemu"
    assert [source.get("file") for source in root.iterfind("devices/disk/source")] == [
        str(pool / disk),
        str(pool / f"config-{own}.raw"),
    ]
    assert [serial.text for serial in root.iterfind("devices/disk/serial")] == [
        "virtlayer-root",
        "virtlayer-config",
    ]
    assert root.findtext("os/kernel") == str(pool / boot["kernel"])
    assert root.findtext("os/cmdline") == "console=ttyS0 panic=-1 quiet no_timer_check"
    ports = {target.get("name") for target in root.iterfind("devices/channel/target")}
    assert ports == {"org.qemu.guest_agent.0", "org.virtlayer.output.0", "org.virtlayer.input.0"}
    assert root.find("metadata//{http://libosinfo.org/xmlns/libvirt/domain/1.0}os") is not None
    config = pool / f"config-{own}.raw"
    assert config.read_bytes() == b"the configuration"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    [known] = machines.list()
    assert (known["name"], known["disk"], known["state"]) == ("web", disk, "stopped")
    assert (known["has_streams"], known["memory"], known["processors"]) == (True, 64 << 20, 2)
    assert machines.state(own, "remove") is None
    assert machines.list() == []
    assert (machines.own_files, machines.notes) == (set(), set())


def test_domain_of_another_program_is_not_found(machines: Machines, host: LibvirtHost) -> None:
    own = any_uuid()
    description = host.directory / "foreign.xml"
    description.write_text(
        f"<domain type='qemu'><name>foreign</name><uuid>{own}</uuid>"
        "<memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
    )
    host.virsh("define", str(description))
    assert machines.list() == machines.list("foreign") == []
    for action in ("start", "press-button", "destroy", "remove"):
        assert machines.control(own, action).error == "DomainNotFound", action
    # Its name and its UUID are taken.
    assert machines.check(name="foreign").error == "DomainExists"
    assert machines.check(uuid=own).error == "DomainExists"


@pytest.mark.parametrize("at", ["disk", "kernel"])
def test_volume_of_another_program_is_refused(machines: Machines, at: str) -> None:
    name = {"disk": "guest.qcow2", "kernel": f"kernel-{'1' * 64}"}[at]
    (machines.pool.path / name).write_bytes(b"somebody's")
    fields: dict[str, Any] = {"disk": machines.volume(), **machines.boot_volumes(), at: name}
    reply = machines.define(boot="own-initrd", **fields)
    assert (reply.error, name in reply.text) == ("VolumeNotFound", True)


def test_layer_is_not_a_disk(machines: Machines, pool: TestPool) -> None:
    assert machines.define(disk=pool.layer("1")).error == "Internal"


@pytest.mark.parametrize(
    "fields",
    [
        {"disk": None},
        {"disk_format": "raw"},
        {"disk_format": "dir"},
        {"kernel": f"kernel-{'1' * 64}"},
        {"boot": "own-initrd"},
        {"boot": "container"},
        {"has_streams": True},
        {"autostart": True, "ephemeral": True},
        {"name": "a/b"},
        {"claim": None},
        {"claim": 99},
        {
            "network": {
                "kind": "none",
                "name": "",
                "ports": [{"address": "", "host": 8080, "guest": 80, "transport": "tcp"}],
            }
        },
    ],
)
def test_contradictions_are_refused(machines: Machines, fields: dict[str, Any]) -> None:
    reply = machines.define(**{"disk": machines.volume(), **fields})
    assert reply.error == "Internal", reply
    assert machines.list() == []
    assert machines.notes == set()


@pytest.mark.parametrize(
    "fields",
    [
        {"disk": "../guest.qcow2"},
        {"disk": ".virtlayer"},
        {"disk": "/etc/passwd"},
        {"memory": 1},
        {"memory": 2**60},
        {"processors": 0},
        {"uuid": "../../x"},
        {"name": "two\nlines"},
        {"os_id": "\x00"},
        {"type": "xen"},
        {
            "network": {
                "kind": "user",
                "name": "",
                "ports": [{"address": "", "host": 0, "guest": 80, "transport": "tcp"}],
            }
        },
    ],
)
def test_malformed_requests_are_refused(machines: Machines, fields: dict[str, Any]) -> None:
    assert machines.check(**fields).refused


def test_text_is_not_taken_for_xml(machines: Machines, host: LibvirtHost) -> None:
    image = "'\"/></metadata><devices/><!--"
    machines.made(name="odd", image=image, os_id="http://x/<y>")
    [known] = machines.list()
    assert known["image"] == image
    assert "<devices/>" not in host.virsh("dumpxml", "odd")


def test_failed_definition_leaves_nothing(machines: Machines, host: LibvirtHost) -> None:
    network = {"kind": "bridge", "name": "vl-missing", "ports": []}
    reply = machines.define(
        b"a seed", disk=machines.disk(), has_seed=True, network=network, ephemeral=True
    )
    assert reply.error == "DomainFailed", reply
    assert machines.list() == []
    assert (machines.own_files, machines.notes) == (set(), set())
    assert host.virsh("list", "--all", "--name") == ""


def test_existing_file_is_not_replaced(machines: Machines) -> None:
    own = any_uuid()
    there = machines.pool.path / f"config-{own}.raw"
    there.write_bytes(b"somebody's")
    reply = machines.define(
        b"new",
        disk=machines.volume(),
        uuid=own,
        has_config=True,
        has_streams=True,
        boot="own-initrd",
        **machines.boot_volumes(),
    )
    assert reply.error == "Internal"
    assert there.read_bytes() == b"somebody's"


def test_contents_must_be_sealed(machines: Machines) -> None:
    with (machines.pool.path / "file").open("w+b") as file:
        claim = claim_of(machines.keeper, machines.pool)
        request = machines.request(step="define", claim=claim, has_seed=True)
        reply = machines.keeper.ask("define-domain", [file.fileno()], **request)
    assert (reply.error, "sealed" in reply.text) == ("Internal", True)
