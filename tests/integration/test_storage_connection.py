# SPDX-License-Identifier: LGPL-2.1-or-later
"""The connection to libvirt: errors without one, and reconnection."""

import asyncio
import os
import signal
import struct
import threading
from collections.abc import Iterator

import libvirt
import pytest

from tests.support.leftovers import nothing_left
from tests.support.libvirt_host import LibvirtHost, session_host
from tests.support.small_filesystem import small_filesystem
from tests.support.waiting import PATIENCE, stop
from virtlayer.errors import (
    Libvirt,
    NoSpace,
    PoolNotFound,
    PoolUnavailable,
    VolumeExists,
    VolumeNotFound,
)
from virtlayer.keeper import connection
from virtlayer.keeper.connection import Connection, Hypervisor

MIB = 1024**2


@pytest.fixture
def mortal_host() -> Iterator[LibvirtHost]:
    """A libvirtd that the test may end."""
    with session_host() as host:
        yield host


def pool_names(libvirt_connection: Connection) -> list[str]:
    return [pool.name() for pool in libvirt_connection.listAllStoragePools()]


async def test_calls_run_and_nothing_is_left(host: LibvirtHost) -> None:
    async with Hypervisor(host.uri) as hypervisor:  # libvirt's event loop stays
        await hypervisor.call(pool_names)
    with nothing_left():
        async with Hypervisor(host.uri) as hypervisor:
            lists = await asyncio.gather(*(hypervisor.call(pool_names) for _ in range(50)))
    assert lists == [lists[0]] * 50
    assert [thread for thread in threading.enumerate() if "ThreadPool" in thread.name] == []


@pytest.mark.parametrize(
    "uri",
    ["nonsense", "nonsense:///system", "qemu+unix:///system?socket=/nowhere/libvirt-sock"],
)
async def test_a_uri_that_leads_nowhere_is_named(uri: str) -> None:
    with pytest.raises(PoolUnavailable, match="Check that libvirtd is running, and the URI"):
        await Hypervisor(uri).open()


async def test_another_machines_libvirt_is_of_no_use() -> None:
    with pytest.raises(Libvirt, match="another host"):
        await Hypervisor("qemu+ssh://user@host.example/system").open()


async def test_errors_are_raised_and_not_printed(
    host: LibvirtHost, capfd: pytest.CaptureFixture[str]
) -> None:
    async with Hypervisor(host.uri) as hypervisor:
        with pytest.raises(PoolNotFound, match=r"no-such-pool.* --connect \S+ pool-list"):
            await hypervisor.call(
                lambda opened: opened.storagePoolLookupByName("no-such-pool").name()
            )
    assert capfd.readouterr() == ("", "")


async def test_connection_is_restored_after_libvirtd_restart(mortal_host: LibvirtHost) -> None:
    mortal_host.start_pool("default")
    async with Hypervisor(mortal_host.uri) as hypervisor:
        assert await hypervisor.call(pool_names) == ["default"]
        mortal_host.restart()
        assert await hypervisor.call(pool_names) == ["default"]


async def test_calls_wait_for_a_libvirtd_that_is_restarting(
    mortal_host: LibvirtHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_RECONNECT_SECONDS", PATIENCE)
    async with Hypervisor(mortal_host.uri) as hypervisor:
        await hypervisor.call(pool_names)
        mortal_host.kill()
        calls = [asyncio.create_task(hypervisor.call(pool_names)) for _ in range(5)]
        await asyncio.sleep(0.3)
        assert not any(call.done() for call in calls)
        await asyncio.to_thread(mortal_host.start)
        assert await asyncio.gather(*calls) == [[]] * 5


async def test_a_libvirtd_that_ends_during_a_call_is_asked_again(mortal_host: LibvirtHost) -> None:
    attempts = []

    def die_once(opened: Connection) -> list[str]:
        attempts.append(opened)
        if len(attempts) == 1:
            mortal_host.restart()
        return pool_names(opened)

    async with Hypervisor(mortal_host.uri) as hypervisor:
        assert await hypervisor.call(die_once) == []
    assert len(attempts) == 2


async def test_a_libvirtd_that_stays_away_is_an_error(
    mortal_host: LibvirtHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_RECONNECT_SECONDS", 0.3)
    async with Hypervisor(mortal_host.uri) as hypervisor:
        await hypervisor.call(pool_names)
        mortal_host.kill()
        with pytest.raises(PoolUnavailable, match="Cannot connect"):
            await hypervisor.call(pool_names)
        mortal_host.start()
        assert await hypervisor.call(pool_names) == []


async def test_a_libvirtd_that_does_not_answer_times_out(
    mortal_host: LibvirtHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_KEEPALIVE_INTERVAL", 1)
    monkeypatch.setattr(connection, "_KEEPALIVE_COUNT", 0)
    monkeypatch.setattr(connection, "_RECONNECT_SECONDS", 0)
    async with Hypervisor(mortal_host.uri) as hypervisor:
        await hypervisor.call(pool_names)
        stop(mortal_host.pid)
        call = asyncio.create_task(hypervisor.call(pool_names))
        await asyncio.sleep(0)
        # The connection is lost; the one that replaces it is not answered before this.
        asyncio.get_running_loop().call_later(2.5, os.kill, mortal_host.pid, signal.SIGCONT)
        assert await call == []


async def test_libvirts_codes_become_our_errors(mortal_host: LibvirtHost) -> None:
    def create_volume(opened: Connection, allocation: int) -> None:
        opened.storagePoolLookupByName("small").createXML(
            f"<volume><name>raw</name><capacity>{allocation}</capacity>"
            f"<allocation>{allocation}</allocation></volume>"
        )

    def look_up_volume(opened: Connection) -> None:
        opened.storagePoolLookupByName("small").storageVolLookupByName("none")

    path = mortal_host.pool_directory("small")
    with small_filesystem(path, 4 * MIB):
        mortal_host.start_pool("small", path)
        async with Hypervisor(mortal_host.uri) as hypervisor:
            with pytest.raises(NoSpace, match="Free some space"):
                await hypervisor.call(create_volume, 64 * MIB)
            await hypervisor.call(create_volume, MIB)
            with pytest.raises(VolumeExists, match="raw"):
                await hypervisor.call(create_volume, MIB)
            with pytest.raises(VolumeNotFound, match="none"):
                await hypervisor.call(look_up_volume)
        mortal_host.stop_pool("small")


async def test_other_libvirt_errors_keep_their_message(host: LibvirtHost) -> None:
    def fail(opened: Connection) -> None:
        opened.storagePoolDefineXML("<pool type='dir'/>")

    async with Hypervisor(host.uri) as hypervisor:
        with pytest.raises(Libvirt, match=r"libvirt: .*name") as raised:
            await hypervisor.call(fail)
    assert isinstance(raised.value.__cause__, libvirt.libvirtError)


def refresh(libvirt_connection: Connection, name: str) -> None:
    libvirt_connection.storagePoolLookupByName(name).refresh()


async def test_libvirtd_that_does_not_answer_is_reported(
    mortal_host: LibvirtHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    # libvirtd itself opens the backing file to guess its format, and waits for a writer.
    path = mortal_host.start_pool("odd")
    os.mkfifo(path / "fifo", 0o666)
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", 2, 112, 4, 16, 1 << 26).ljust(112, b"\0")
    (path / "overlay.qcow2").write_bytes(header + b"fifo")
    async with Hypervisor(mortal_host.uri) as hypervisor:
        monkeypatch.setattr(connection, "_ANSWER_SECONDS", 0.5)
        with pytest.raises(PoolUnavailable, match="did not answer within 0 s"):
            await hypervisor.call(refresh, "odd")
        mortal_host.kill()
