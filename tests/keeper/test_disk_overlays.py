# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine can be based on a disk that the keeper has placed, and on no other volume or file."""

import fcntl
import os
from pathlib import Path

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import directory_of, qcow2, staged, write
from tests.support.libvirt_host import LibvirtHost
from tests.support.raw_keeper import RawKeeper, Reply
from virtlayer.protocol.image_formats import read_header
from virtlayer.sizes import MIB

RAW = b"boot".ljust(510, b"\0") + b"\x55\xaa" + bytes(1024)


def placed(
    keeper: RawKeeper, pool: TestPool, purpose: str, file: str, name: str, content: bytes
) -> Path:
    """A volume that is in its pool, with a record."""
    staging = staged(keeper, pool, purpose)
    if purpose == "disk":
        (directory_of(pool) / file).write_bytes(content)
    else:
        write(pool, file, content)
    keeper.get("flush", staging=staging, file=file)
    record = os.memfd_create("record", os.MFD_ALLOW_SEALING)
    os.write(record, b"{}")
    fcntl.fcntl(record, fcntl.F_ADD_SEALS, 0xF)
    reply = keeper.ask("place", [record], staging=staging, file=file, name=name, build=None)
    os.close(record)
    assert reply.error == "", reply
    keeper.get("release", number=staging, failed=False)
    return pool.path / name


def overlay_of(keeper: RawKeeper, pool: TestPool, name: str) -> Reply:
    """Ask for an overlay, and for its place in the pool."""
    staging = staged(keeper, pool, "volume")
    try:
        made = keeper.ask(
            "create-overlay", staging=staging, file="volume.qcow2", size=64 * MIB, backing=name
        )
        if made.error:
            return made
        return keeper.ask(
            "place", staging=staging, file="volume.qcow2", name="machine.qcow2", build=None
        )
    finally:
        keeper.get("release", number=staging, failed=False)


@pytest.mark.parametrize(
    ("disk", "format_"), [(RAW, "raw"), (qcow2(), "qcow2")], ids=["raw", "qcow2"]
)
def test_overlay_names_the_format_that_the_disk_had(
    keeper: RawKeeper, pool: TestPool, disk: bytes, format_: str
) -> None:
    path = placed(keeper, pool, "disk", "disk", "machine.img", disk)
    if format_ == "raw":
        # A machine that uses the disk itself can write any header into it.
        with path.open("r+b") as file:
            file.write(qcow2(b"/etc/shadow", backing_format=b"raw"))
    reply = overlay_of(keeper, pool, "machine.img")
    assert reply.error == "", reply
    with (pool.path / "machine.qcow2").open("rb") as overlay:
        header = read_header(overlay.fileno())
    assert (header.backing, header.backing_format) == ("machine.img", format_)


def test_disk_is_found_by_libvirt_if_its_name_is_that_of_an_image(
    host: LibvirtHost, keeper: RawKeeper, pool: TestPool
) -> None:
    placed(keeper, pool, "disk", "disk", "fedora:43", RAW)
    reply = overlay_of(keeper, pool, "fedora:43")
    assert reply.error == "", reply
    assert "machine.qcow2" in host.volumes(pool.name)
    found = host.virsh("vol-dumpxml", "machine.qcow2", pool.name)
    assert f"<path>{pool.path}/./fedora:43</path>" in found
    # Such a name is a protocol and its address to QEMU.
    for backing in (b"fedora:43", b"././fedora:43"):
        staging = staged(keeper, pool, "volume")
        write(pool, "staged", qcow2(backing, backing_format=b"raw"))
        keeper.get("flush", staging=staging, file="staged")
        refused = keeper.ask("place", staging=staging, file="staged", name="other", build=None)
        assert refused.error == "Internal"
        keeper.get("release", number=staging, failed=False)


def test_volume_of_a_machine_cannot_be_the_base_of_another(
    keeper: RawKeeper, pool: TestPool
) -> None:
    layer = pool.layer("1")
    placed(keeper, pool, "volume", "staged", "web.qcow2", qcow2(layer.encode()))
    # A service that was taken over can have a volume made that has no backing file.
    placed(keeper, pool, "volume", "staged", "db.qcow2", qcow2())
    for name in ("web.qcow2", "db.qcow2"):
        assert overlay_of(keeper, pool, name).error == "Internal"
    assert not (pool.path / "machine.qcow2").exists()


def test_file_of_another_program_cannot_be_a_base(keeper: RawKeeper, pool: TestPool) -> None:
    (pool.path / "foreign.img").write_bytes(RAW)
    path = placed(keeper, pool, "disk", "disk", "machine.img", RAW)
    path.rename(pool.path / "kept")
    path.write_bytes(RAW)
    (pool.path / "link").symlink_to("/etc/shadow")
    for name in ("foreign.img", "machine.img", "kept", "link", "missing", "json:{}"):
        assert overlay_of(keeper, pool, name).error == "Internal", name


@pytest.mark.parametrize(
    ("backing", "format_"),
    [
        (b"machine.img", b"qcow2"),
        (b"machine.img", b""),
        (b"./machine.img", b"raw"),
        (b"/etc/shadow", b"raw"),
        (b"../machine.img", b"raw"),
    ],
)
def test_header_of_another_format_or_path_is_refused(
    keeper: RawKeeper, pool: TestPool, backing: bytes, format_: bytes
) -> None:
    placed(keeper, pool, "disk", "disk", "machine.img", RAW)
    staging = staged(keeper, pool, "volume")
    write(pool, "staged", qcow2(backing, backing_format=format_))
    keeper.get("flush", staging=staging, file="staged")
    reply = keeper.ask("place", staging=staging, file="staged", name="machine.qcow2", build=None)
    assert reply.error == "Internal"
    assert "backed by layers, or a disk, of this pool only" in reply.text
    keeper.get("release", number=staging, failed=False)
