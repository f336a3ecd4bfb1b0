# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether KVM runs guests is found with a machine that powers off at once, once per boot."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.domains.requests import Machines, any_uuid
from tests.support.guest import DRIVERS, INIT
from tests.support.kernel import debian_kernel, guest_initrd
from tests.support.leftovers import shared_by_tests
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host
from tests.support.not_tested import not_tested
from tests.support.raw_keeper import RawKeeper, raw_keeper
from tests.support.waiting import PATIENCE
from virtlayer.errors import Unsupported
from virtlayer.keeper.domains.kvm import ChosenType, Kvm, Verdict, chosen_type
from virtlayer.protocol.domains import DomainType

_BROKEN = Verdict(works=False, reason="QEMU does not start", log="first\nlast")


@pytest.fixture(scope="module")
def kvm_host() -> Iterator[LibvirtHost]:
    """A libvirtd that sees /dev/kvm, if there is one."""
    with shared_by_tests(), machine_host(kvm=True) as host:
        yield host


@pytest.fixture
def kvm_keeper(kvm_host: LibvirtHost, tmp_path: Path) -> Iterator[RawKeeper]:
    """A keeper for that libvirtd, whose /run is empty."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    with raw_keeper(kvm_host.uri, inside=kvm_host.as_owner(), environment=environment) as keeper:
        keeper.connection.settimeout(PATIENCE)
        yield keeper


def test_kvm_is_tried_once(kvm_host: LibvirtHost, kvm_keeper: RawKeeper, tmp_path: Path) -> None:
    path = kvm_host.start_pool("probes")
    pool = TestPool("probes", kvm_keeper.get("find-pool", name="probes")["uuid"], path)
    machines = Machines(kvm_host, kvm_keeper, pool)
    kernel = debian_kernel()
    boot = machines.boot_volumes(kernel.image.read_bytes(), guest_initrd(kernel, INIT, DRIVERS))
    first = machines.check(type=None).done
    probed = machines.define(step="probe-kvm", type=None, boot="own-initrd", **boot).done
    assert probed["kvm_known"]
    assert machines.check(type=None).done == probed
    works = probed["type"] == "kvm"
    if not works:
        not_tested("machines under KVM: it runs no guests")
    assert works or "emulated" in probed["notes"][0]
    assert (machines.check(type="kvm").error == "") == works
    if not first["kvm_known"]:
        kept = json.loads((tmp_path / "virtlayer-keeper/kvm.json").read_text())
        assert kept["works"] == works
    # Nothing is left of the machine.
    assert kvm_host.virsh("list", "--all", "--name") == ""
    assert not list(Path(f"/proc/{kvm_host.pid}/root/var/log/libvirt/qemu").glob("virtlayer-*"))
    kvm_host.stop_pool("probes")


def test_firmware_is_tried_without_our_initrd(
    kvm_host: LibvirtHost, kvm_keeper: RawKeeper, tmp_path: Path
) -> None:
    path = kvm_host.start_pool("disks")
    pool = TestPool("disks", kvm_keeper.get("find-pool", name="disks")["uuid"], path)
    machines = Machines(kvm_host, kvm_keeper, pool)
    offered = not machines.check(type=None).done["kvm_known"]
    if not offered:
        not_tested("firmware under KVM: libvirt does not offer KVM")
    first = machines.define(step="probe-kvm", type=None, boot="disk")
    assert first.error == "", first
    # A failure is kept. Otherwise a kernel is to be tried, too.
    is_kept = (tmp_path / "virtlayer-keeper/kvm.json").exists()
    assert first.done["kvm_known"] == (not offered or is_kept)
    assert machines.define(step="probe-kvm", type=None, boot="disk").done == first.done
    assert kvm_host.virsh("list", "--all", "--name") == ""
    kvm_host.stop_pool("disks")


def test_trying_kvm_leaves_other_machines_alone(
    kvm_host: LibvirtHost, kvm_keeper: RawKeeper
) -> None:
    other = any_uuid()
    xml = kvm_host.directory / "other.xml"
    xml.write_text(
        f"<domain type='qemu'><name>other</name><uuid>{other}</uuid><memory>65536</memory>"
        "<os><type>hvm</type></os></domain>"
    )
    kvm_host.virsh("create", str(xml))
    path = kvm_host.start_pool("others")
    try:
        pool = TestPool("others", kvm_keeper.get("find-pool", name="others")["uuid"], path)
        machines = Machines(kvm_host, kvm_keeper, pool)
        reply = machines.define(step="probe-kvm", type=None, boot="disk", uuid=other)
        assert kvm_host.virsh("domstate", "other").strip() == "running"
        assert reply.error == "DomainExists", reply
    finally:
        kvm_host.virsh("destroy", "other")
        kvm_host.stop_pool("others")


def test_kernel_that_is_tried_must_be_a_boot_volume(machines: Machines) -> None:
    assert machines.define(step="probe-kvm", boot="own-initrd").error == "Internal"
    missing = {"kernel": f"kernel-{'1' * 64}", "initrd": f"initrd-{'1' * 64}"}
    reply = machines.define(step="probe-kvm", boot="own-initrd", uuid=any_uuid(), **missing)
    assert reply.error == "VolumeNotFound"


@pytest.mark.parametrize(
    ("wanted", "offered", "verdict", "expected"),
    [
        (None, True, Verdict(True, "", ""), (DomainType.KVM, True)),
        (None, True, None, (DomainType.KVM, False)),
        (DomainType.KVM, True, None, (DomainType.KVM, False)),
        (None, True, _BROKEN, (DomainType.QEMU, True)),
        (None, False, None, (DomainType.QEMU, True)),
        (DomainType.QEMU, True, None, (DomainType.QEMU, True)),
    ],
)
def test_type_is_chosen_by_what_works(
    wanted: DomainType | None,
    offered: bool,
    verdict: Verdict | None,
    expected: tuple[DomainType, bool],
) -> None:
    chosen: ChosenType = chosen_type(wanted, offered=offered, verdict=verdict)
    assert (chosen.type, chosen.kvm_known) == expected


def test_unusable_kvm_is_refused_with_last_lines() -> None:
    with pytest.raises(Unsupported, match=r"QEMU does not start.*first; last"):
        chosen_type(DomainType.KVM, offered=True, verdict=_BROKEN)


def test_verdict_is_valid_until_the_next_boot(tmp_path: Path) -> None:
    Kvm(tmp_path / "run").keep(_BROKEN)
    assert Kvm(tmp_path / "run").verdict() == _BROKEN
    file = tmp_path / "run/kvm.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "boot": "another"}))
    assert Kvm(tmp_path / "run").verdict() is None
    file.write_text("damaged")
    assert Kvm(tmp_path / "run").verdict() is None
