# SPDX-License-Identifier: LGPL-2.1-or-later
"""Well-formed requests of a compromised service cannot access objects of others."""

import os
import signal
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import claim_of, delete, directory_of, pairs, qcow2, staged, start, write
from tests.support.leftovers import children_of
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import left_by_jobs, names_in, unfinished_in
from tests.support.raw_keeper import RawKeeper, raw_keeper

# ---- volumes ----


def test_a_volume_is_not_overwritten(keeper: RawKeeper, pool: TestPool) -> None:
    there = pool.path / "guest.qcow2"
    there.write_bytes(b"somebody's")
    staging = staged(keeper, pool, "volume")
    write(pool, "v1")
    keeper.get("flush", staging=staging, file="v1")
    placed = keeper.get("place", staging=staging, file="v1", name=there.name, build=None)
    assert (placed["ours"], placed["record"]) == (False, None)
    # It is not ours, so it is not withdrawn either.
    keeper.get("withdraw", pool=pool.uuid, name=there.name)
    assert there.read_bytes() == b"somebody's"
    keeper.get("release", number=staging, failed=False)


@pytest.mark.parametrize(
    ("purpose", "name"),
    [
        ("volume", f"layer-{'1' * 64}.qcow2"),
        ("disk", f"layer-{'1' * 64}.qcow2"),
        ("layers", "guest.qcow2"),
        ("directory", f"layer-{'1' * 64}.qcow2"),
    ],
)
def test_a_purpose_has_its_names(
    keeper: RawKeeper, pool: TestPool, purpose: str, name: str
) -> None:
    staging = staged(keeper, pool, purpose)
    reply = keeper.ask("place", staging=staging, file="v1", name=name, build=None)
    assert (reply.error, "cannot be" in reply.text) == ("Internal", True)
    assert not (pool.path / name).exists()
    keeper.get("release", number=staging, failed=False)


@pytest.mark.parametrize("purpose", ["layers", "volume", "disk", "directory"])
def test_unflushed_volume_is_not_placed(keeper: RawKeeper, pool: TestPool, purpose: str) -> None:
    name = f"layer-{'1' * 64}.qcow2" if purpose == "layers" else "guest"
    staging = staged(keeper, pool, purpose)
    if purpose in {"layers", "volume"}:
        write(pool, "v1")
    file = {"disk": "disk", "directory": "root"}.get(purpose, "v1")
    reply = keeper.ask("place", staging=staging, file=file, name=name, build=None)
    assert (reply.error, "was not flushed" in reply.text) == ("Internal", True)
    assert names_in(pool.path) == []
    keeper.get("release", number=staging, failed=False)


def test_a_file_is_flushed_and_placed_once(keeper: RawKeeper, pool: TestPool) -> None:
    staging = staged(keeper, pool, "volume")
    write(pool, "v1")
    keeper.get("flush", staging=staging, file="v1")
    assert keeper.ask("flush", staging=staging, file="v1").error
    keeper.get("place", staging=staging, file="v1", name="guest", build=None)
    assert keeper.ask("place", staging=staging, file="v1", name="other", build=None).error
    keeper.get("release", number=staging, failed=False)
    keeper.get("withdraw", pool=pool.uuid, name="guest")


def test_only_what_the_connection_has_placed_is_withdrawn_and_registered(
    keeper: RawKeeper, pool: TestPool
) -> None:
    (pool.path / "guest").write_bytes(b"somebody's")
    layer = pool.layer("1")
    for name in ("guest", layer):
        expected = {"name": name, "backing": None, "formats": ["qcow2"]}
        for reply in (
            keeper.ask("withdraw", pool=pool.uuid, name=name),
            keeper.ask("register", pool=pool.uuid, volumes=[expected]),
        ):
            assert "was not placed on this connection" in reply.text
    assert names_in(pool.path) == sorted(["guest", layer])


@pytest.mark.parametrize(
    "content",
    [
        qcow2(b"/etc/shadow", backing_format=b"raw"),
        qcow2(b"../../etc/shadow"),
        qcow2(b"json:{}"),
        qcow2(f"layer-{'1' * 64}.qcow2".encode(), backing_format=b"raw"),
        qcow2(b"guest.qcow2"),
        qcow2()[:4] + bytes(4) + qcow2()[8:],
        b"QED\0" + bytes(100),
        b"content",
    ],
    ids=range(8),
)
def test_an_image_that_refers_to_other_files_is_not_placed(
    keeper: RawKeeper, pool: TestPool, content: bytes
) -> None:
    for purpose, name in (("layers", f"layer-{'2' * 64}.qcow2"), ("volume", "guest")):
        staging = staged(keeper, pool, purpose)
        write(pool, "v1", content)
        keeper.get("flush", staging=staging, file="v1")
        reply = keeper.ask("place", staging=staging, file="v1", name=name, build=None)
        assert (reply.error, "was not added" in reply.text) == ("Internal", True)
        keeper.get("release", number=staging, failed=False)
    assert unfinished_in(pool.path) == []


def test_an_image_that_refers_to_a_layer_is_placed(keeper: RawKeeper, pool: TestPool) -> None:
    base, name = f"layer-{'1' * 64}.qcow2", f"layer-{'2' * 64}.qcow2"
    staging = staged(keeper, pool)
    write(pool, "v1", qcow2(base.encode()))
    keeper.get("flush", staging=staging, file="v1")
    assert keeper.get("place", staging=staging, file="v1", name=name, build=None)["ours"] is True
    keeper.get("release", number=staging, failed=False)


def test_layers_that_something_uses_are_not_deleted(keeper: RawKeeper, pool: TestPool) -> None:
    base, middle, top = pool.layer("1"), pool.layer("2", f"layer-{'1' * 64}.qcow2"), "guest.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", middle, "-F", "qcow2", top]
    subprocess.run(command, check=True, cwd=pool.path)
    # Whatever the service says about who counts.
    for names in ([base], [middle], [middle, base]):
        keeper.get("users", pool=pool.uuid, names=[base, middle])
        reply = delete(keeper, pool, *names)
        assert (reply["names"], reply["error"]) == ([], "InUse"), names
    (pool.path / top).unlink()
    keeper.get("users", pool=pool.uuid, names=[base, middle])
    # In the wrong order, nothing; the right one shows that they could go.
    reply = delete(keeper, pool, base, middle)
    assert (reply["names"], reply["error"]) == ([], "InUse")
    reply = delete(keeper, pool, middle, base)
    assert (reply["names"], reply["error"]) == ([middle, base], "")


def test_a_link_with_the_name_of_a_layer_is_not_lent(
    keeper: RawKeeper, pool: TestPool, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    name = f"layer-{'3' * 64}.qcow2"
    (pool.path / name).symlink_to(secret)
    staging = staged(keeper, pool)
    assert keeper.ask("link", staging=staging, names=[name]).error
    assert keeper.ask("link", staging=staging, names=[f"layer-{'4' * 64}.qcow2"]).error
    assert list(directory_of(pool).iterdir()) == []
    keeper.get("release", number=staging, failed=False)
    (pool.path / name).unlink()


def test_files_are_found_in_the_pool_alone(keeper: RawKeeper, pool: TestPool) -> None:
    (pool.path / "link").symlink_to("/etc/passwd")
    found = keeper.get("find-files", pool=pool.uuid, names=["link", "etc", "passwd"])
    # The link's own stamp says nothing about what it leads to.
    link = (pool.path / "link").lstat()
    assert found == {"files": {"link": {"inode": link.st_ino, "changed": link.st_ctime_ns}}}
    (pool.path / "link").unlink()


# ---- staging directories ----


def test_unknown_staging_numbers_are_refused(keeper: RawKeeper, pool: TestPool) -> None:
    requests: tuple[tuple[str, dict[str, Any]], ...] = (
        ("link", {"names": [f"layer-{'1' * 64}.qcow2"]}),
        ("flush", {"file": "v1"}),
        ("place", {"file": "v1", "name": "guest", "build": None}),
        (
            "create-overlay",
            {"file": "volume.qcow2", "size": 2**26, "backing": f"layer-{'1' * 64}.qcow2"},
        ),
    )
    for message, content in requests:
        reply = keeper.ask(message, staging=7, **content)
        assert "No staging directory 7" in reply.text
    assert "No staging directory 7" in start(keeper, "storage-daemon", staging=7).text
    for message in ("wait-program", "end-program"):
        more: dict[str, Any] = {"kill": True} if message == "end-program" else {}
        assert "No program 7" in keeper.ask(message, program=7, **more).text
    assert unfinished_in(pool.path) == []


def test_staging_directories_are_counted(keeper: RawKeeper, pool: TestPool) -> None:
    numbers = [staged(keeper, pool) for _ in range(64)]
    reply = keeper.ask("stage", pool=pool.uuid, claim=claim_of(keeper, pool), purpose="layers")
    assert (reply.error, "64 staging directories" in reply.text) == ("Internal", True)
    for number in numbers:
        keeper.get("release", number=number, failed=False)


def test_everything_ends_with_the_connection(host: LibvirtHost, pool: TestPool) -> None:
    with raw_keeper(host.uri) as other, pairs(socket.SOCK_SEQPACKET) as [control]:
        other.get("find-pool", name=pool.name)
        staged(other, pool)
        assert start(other, "layer-worker", control).error == ""
        assert len(children_of(other.process.pid)) == 1
        other.connection.close()
        assert other.ended()[0] == 0
    assert unfinished_in(pool.path) == []


def test_staging_directories_end_with_their_claim(keeper: RawKeeper, pool: TestPool) -> None:
    claim, other = claim_of(keeper, pool), claim_of(keeper, pool)
    for number in (claim, claim, other):
        keeper.get("stage", pool=pool.uuid, claim=number, purpose="layers")
    assert len(unfinished_in(pool.path)) == 3
    keeper.get("release", number=claim, failed=False)
    assert len(unfinished_in(pool.path)) == 1
    reply = keeper.ask("stage", pool=pool.uuid, claim=claim, purpose="layers")
    assert "No claim in that pool" in reply.text
    keeper.get("release", number=other, failed=False)
    assert left_by_jobs(pool.path) == []


def test_a_staging_directory_outlives_a_killed_keeper(
    host: LibvirtHost, keeper: RawKeeper, pool: TestPool
) -> None:
    """The claim lasts while the service has its descriptor."""
    with raw_keeper(host.uri) as mortal:
        mortal.get("find-pool", name=pool.name)
        reply = mortal.ask("claim", pool=pool.uuid, claim=None, names=["a"], build=[])
        [lock] = reply.descriptors
        claim = reply.done["claim"]
        mortal.get("stage", pool=pool.uuid, claim=claim, purpose="layers")
        mortal.process.send_signal(signal.SIGKILL)
        mortal.process.wait()
    assert keeper.get("sweep", pool=pool.uuid) == {"number": 0}
    assert len(unfinished_in(pool.path)) == 1
    os.close(lock)
    assert keeper.get("sweep", pool=pool.uuid) == {"number": 1}
    assert left_by_jobs(pool.path) == []


def test_service_gets_no_directory_descriptor(keeper: RawKeeper, pool: TestPool) -> None:
    claim = keeper.ask("claim", pool=pool.uuid, claim=None, names=["a"], build=[])
    [descriptor] = claim.descriptors
    assert stat.S_ISREG(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    assert not keeper.ask("lock", pool=pool.uuid).descriptors


# ---- directories ----


@pytest.mark.root
def test_a_directory_needs_a_closed_pool(keeper: RawKeeper, pool: TestPool) -> None:
    pool.path.chmod(0o755)
    reply = keeper.ask("stage", pool=pool.uuid, claim=claim_of(keeper, pool), purpose="directory")
    assert reply.error == "PoolUnsupported"
    assert unfinished_in(pool.path) == []


@pytest.mark.root
@pytest.mark.parametrize("kind", ["setuid", "setgid", "device", "capability", "deep", "none"])
def test_a_contained_directory_has_nothing_of_roots(
    keeper: RawKeeper, pool: TestPool, kind: str
) -> None:
    pool.path.chmod(0o755)
    staging = staged(keeper, pool, "contained-directory")
    root = directory_of(pool) / "root"
    below = root / "/".join(["d" * 200] * (15 if kind == "deep" else 1))
    below.mkdir(parents=True)
    file = below / "file"
    file.write_bytes(b"#!/bin/sh\n")
    os.chown(file, 1048576, 1048576)
    file.chmod(0o6755)
    match kind:
        case "setuid" | "deep":
            os.chown(file, 0, 1048576)
            file.chmod(0o4755)
        case "setgid":
            os.chown(file, 1048576, 0)
            file.chmod(0o2755)
        case "device":
            os.mknod(below / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        case "capability":
            # cap_setuid=ep, of the first user namespace (vfs_cap_data, version 2)
            value = bytes.fromhex("0100000280000000000000000000000000000000")
            os.setxattr(file, "security.capability", value)
    reply = keeper.ask("flush", staging=staging, file="root")
    if kind == "none":
        assert reply.error == ""
        # Nobody changes it afterwards.
        with pairs(socket.SOCK_SEQPACKET) as [control]:
            assert "finished" in start(keeper, "directory-worker", control, staging=staging).text
    else:
        assert reply.error == "PoolUnsupported"
        assert keeper.ask("place", staging=staging, file="root", name="guest", build=None).error
    keeper.get("release", number=staging, failed=False)


def test_a_directory_is_not_flushed_while_it_is_written(keeper: RawKeeper, pool: TestPool) -> None:
    staging = staged(keeper, pool, "directory")
    with pairs(socket.SOCK_SEQPACKET) as [control]:
        program = start(keeper, "directory-worker", control, staging=staging)
        os.close(program.descriptors[0])
        assert "still being written" in keeper.ask("flush", staging=staging, file="root").text
        keeper.get("end-program", program=program.done["program"], kill=True)
        keeper.get("flush", staging=staging, file="root")
    keeper.get("release", number=staging, failed=False)
