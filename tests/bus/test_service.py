# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon as a process: how it starts, what it answers, how it ends."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.bus.daemon import (
    NO_LIBVIRT,
    PROGRAM,
    ROOT,
    SERVICE,
    environment,
    libvirt_with_pools,
    until_owned,
    virtlayerd,
)
from tests.support.bus_daemon import Bus, session_bus
from tests.support.leftovers import children_of, is_keeper
from tests.support.waiting import PATIENCE, until
from virtlayer.dbus.connection import Connection
from virtlayer.version import VERSION

PROPERTIES = "org.freedesktop.DBus.Properties"
JOB = "org.virtlayer1.Job"


async def finished(client: Connection, path: str) -> dict[str, object]:
    """Wait until a job is over; return its properties."""
    async with asyncio.timeout(PATIENCE):
        while True:
            [values] = await client.ask(SERVICE, path, PROPERTIES, "GetAll", "s", [JOB])
            if values["FinishedAt"].value:
                return {name: value.value for name, value in values.items()}
            await asyncio.sleep(0.01)


async def test_service_reports_version_and_libvirt_uri(bus: Bus, tmp_path: Path) -> None:
    async with virtlayerd(bus, tmp_path) as daemon:
        shown = await asyncio.to_thread(
            bus.busctl, "get-property", SERVICE, ROOT, f"{SERVICE}.Manager", "Version", "LibvirtUri"
        )
        assert shown.split() == ["s", f'"{VERSION}"', "s", f'"{libvirt_with_pools(tmp_path)}"']
        assert await daemon.ask("ListJobs") == []
        assert await daemon.ask("ListImages", "s", "") == []


async def test_only_the_keeper_has_libvirt(bus: Bus, tmp_path: Path) -> None:
    async with virtlayerd(bus, tmp_path) as daemon:
        # It has been asked which images there are.
        [keeper] = filter(is_keeper, children_of(daemon.process.pid))
        assert "libvirtmod" in Path(f"/proc/{keeper}/maps").read_text()
        assert "libvirtmod" not in Path(f"/proc/{daemon.process.pid}/maps").read_text()


async def test_version_is_an_option() -> None:
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "--version", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert (process.returncode, output) == (0, f"virtlayerd {VERSION}\n".encode())


@pytest.mark.parametrize(
    ("source", "options", "error"),
    [
        ("docker://x/y", {"frobnicate": Variant("b", True)}, "UnknownOption"),
        ("docker://x/y", {"cache": Variant("s", "no")}, "InvalidArgument"),
        ("docker://x/y", {"size": Variant("t", 1)}, "InvalidArgument"),
        ("docker://x/y", {"platform": Variant("s", "linux")}, "InvalidArgument"),
        ("docker://x/y", {"username": Variant("s", "me")}, "InvalidArgument"),
        ("docker://x/y", {"auth-fd": Variant("h", 0)}, "InvalidArgument"),
        ("docker://UPPER/CASE", {}, "InvalidReference"),
        ("ftp://x/y", {}, "InvalidReference"),
    ],
)
async def test_invalid_call_starts_no_job(
    bus: Bus, tmp_path: Path, source: str, options: dict[str, Variant], error: str
) -> None:
    async with virtlayerd(bus, tmp_path) as daemon:
        assert await daemon.refused("Pull", "ssa{sv}", source, "default", options) == error
        assert await daemon.ask("ListJobs") == []


async def test_failed_job_has_error_and_stays_readable(bus: Bus, tmp_path: Path) -> None:
    async with virtlayerd(bus, tmp_path) as daemon:
        number, path = await daemon.ask("Pull", "ssa{sv}", "docker://x.test/y", "nowhere", {})
        assert (number, path) == (1, f"{ROOT}/job/1")
        job = await finished(daemon.client, path)
        assert job["State"] == "failed"
        assert job["Error"] == "org.virtlayer1.Error.PoolNotFound"
        assert "nowhere" in str(job["Message"])
        assert (job["Kind"], job["Pool"]) == ("pull", "nowhere")
        assert job["Source"] == "docker://x.test/y:latest"
        assert (job["StartedBy"], job["Result"], job["Progress"]) == (os.getuid(), {}, 0)
        [row] = await daemon.ask("ListJobs")
        assert row == [1, path, "pull", "failed", "docker://x.test/y:latest", 0]
        assert await daemon.refused("Cancel", path=path, interface=JOB) == "NoSuchJob"
        gone = f"{ROOT}/job/2"
        assert await daemon.refused("Cancel", path=gone, interface=JOB) == "UnknownObject"


async def test_job_signals_are_sent_once_after_the_change(bus: Bus, tmp_path: Path) -> None:
    async with virtlayerd(bus, tmp_path) as daemon:
        told: list[tuple[str, str]] = []
        over = asyncio.Event()

        def note(message: object) -> None:
            told.append((message.path, message.member))  # type: ignore[attr-defined]
            if told[-1][1] == "JobFinished":
                over.set()

        daemon.client.on_signal = note
        await daemon.client.ask(
            *("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"),
            *("AddMatch", "s", [f"type='signal',sender='{SERVICE}'"]),
        )
        _number, path = await daemon.ask("Pull", "ssa{sv}", "docker://x.test/y", "nowhere", {})
        added = list(told)
        await over.wait()
        assert added[:2] == [(ROOT, "InterfacesAdded"), (ROOT, "JobAdded")]
        assert told[-3:] == [
            (path, "PropertiesChanged"),
            (path, "Finished"),
            (ROOT, "JobFinished"),
        ]
        ends = {"Finished", "JobFinished", "JobRemoved"}
        assert len([member for _, member in told if member in ends]) == 2


async def test_wait_replies_when_the_job_has_ended(bus: Bus, tmp_path: Path) -> None:
    """The source accepts the connection and does not answer."""
    connected = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await _reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, virtlayerd(bus, tmp_path) as daemon:
        source = f"docker://127.0.0.1:{port}/x"
        _, path = await daemon.ask("Pull", "ssa{sv}", source, "default-pool", {})
        waiting = [
            asyncio.create_task(daemon.ask("Wait", path=path, interface=JOB)) for _ in range(3)
        ]
        await daemon.ask("Cancel", path=path, interface=JOB)
        expected = ["cancelled", "org.virtlayer1.Error.Cancelled", "Job 1 was cancelled.", {}]
        for one in waiting:
            assert await one == expected
        assert await daemon.ask("Wait", path=path, interface=JOB) == expected
        gone = f"{ROOT}/job/2"
        assert await daemon.refused("Wait", path=gone, interface=JOB) == "UnknownObject"


async def test_a_forgotten_job_is_removed(bus: Bus, tmp_path: Path) -> None:
    async with virtlayerd(bus, tmp_path, settings="[jobs]\nkeep-seconds = 0\n") as daemon:
        told: asyncio.Queue[Message] = asyncio.Queue()
        daemon.client.on_signal = told.put_nowait
        await daemon.client.ask(
            *("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"),
            *("AddMatch", "s", [f"type='signal',sender='{SERVICE}',path='{ROOT}'"]),
        )
        path = f"{ROOT}/job/1"
        assert await daemon.ask("Pull", "ssa{sv}", "docker://x.test/y", "nowhere", {}) == [1, path]
        signals = [await told.get() for _ in range(5)]
        assert [signal.member for signal in signals] == [
            "InterfacesAdded",
            "JobAdded",
            "JobFinished",
            "InterfacesRemoved",
            "JobRemoved",
        ]
        assert signals[2].body[:3] == [1, path, "failed"]
        assert signals[4].body == [1, path]
        assert await daemon.ask("ListJobs") == []
        assert await daemon.refused("Cancel", path=path, interface=JOB) == "UnknownObject"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_stops_service_at_once_with_status_0(
    bus: Bus, tmp_path: Path, number: signal.Signals
) -> None:
    async with virtlayerd(bus, tmp_path) as daemon:
        daemon.process.send_signal(number)
        assert await daemon.wait() == (0, "")


async def test_a_lost_bus_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "bus").mkdir()
    with session_bus(tmp_path / "bus") as bus:
        async with virtlayerd(bus, tmp_path) as daemon:
            os.kill(bus.pid, signal.SIGTERM)
            status, log = await daemon.wait()
            assert status == 1
            assert "connection to the bus was lost" in log


async def test_a_second_daemon_leaves_the_name_to_the_first(bus: Bus, tmp_path: Path) -> None:
    async with virtlayerd(bus, tmp_path) as first:
        second = await asyncio.create_subprocess_exec(
            *(PROGRAM, "--session", "--connect", NO_LIBVIRT),
            env=environment(bus, tmp_path),
            stderr=asyncio.subprocess.PIPE,
        )
        _, log = await second.communicate()
        assert second.returncode == 1
        assert b"Another virtlayerd" in log
        assert await first.ask("ListJobs") == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [("[jobs]\nrunning-limits = 3\n", "line 2"), ("[jobs\n", "TOML")],
)
async def test_invalid_settings_are_reported_with_their_place(
    bus: Bus, tmp_path: Path, settings: str, says: str
) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text(settings)
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "--session", "--config", config),
        env=environment(bus, tmp_path),
        stderr=asyncio.subprocess.PIPE,
    )
    _, log = await process.communicate()
    assert process.returncode == 1
    assert says in log.decode()
    assert "Traceback" not in log.decode()


async def test_missing_file_of_settings_is_an_error(bus: Bus, tmp_path: Path) -> None:
    missing = tmp_path / "nothing.toml"
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "--session", "--config", missing),
        env=environment(bus, tmp_path),
        stderr=asyncio.subprocess.PIPE,
    )
    _, log = await process.communicate()
    assert process.returncode == 1
    assert log.decode() == f"CRITICAL: --config: the file {missing} does not exist.\n"


async def test_missing_bus_is_reported_without_a_traceback(tmp_path: Path) -> None:
    bus = Bus(f"unix:path={tmp_path}/nothing", 0, session=True)
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "--session"), env=environment(bus, tmp_path), stderr=asyncio.subprocess.PIPE
    )
    _, log = await process.communicate()
    assert process.returncode == 1
    assert log.decode().startswith("CRITICAL: Cannot connect to the bus at")


@pytest.fixture
def activating_bus(tmp_path: Path) -> Iterator[Bus]:
    """A bus that starts the daemon on demand; the daemon exits after an idle second."""
    (tmp_path / "services").mkdir()
    (tmp_path / "bus").mkdir()
    (tmp_path / "config" / "virtlayer").mkdir(parents=True)
    (tmp_path / "config" / "virtlayer" / "virtlayerd.toml").write_text(
        "[service]\nidle-timeout = 1\n[jobs]\nkeep-seconds = 0\n"
    )
    variables = environment(Bus("", 0, session=True), tmp_path)
    del variables["DBUS_SESSION_BUS_ADDRESS"]
    settings = " ".join(f"{name}={value}" for name, value in variables.items())
    (tmp_path / "services" / f"{SERVICE}.service").write_text(
        f"[D-BUS Service]\nName={SERVICE}\n"
        f"Exec=/usr/bin/env {settings} {PROGRAM} --session --connect {NO_LIBVIRT}\n"
    )
    with session_bus(tmp_path / "bus", services=tmp_path / "services") as running:
        yield running


async def test_service_starts_on_call_and_exits_when_idle(activating_bus: Bus) -> None:
    address = activating_bus.address
    async with await Connection.opened(session=True, address=address) as client:
        for _ in range(2):
            jobs = await client.ask(SERVICE, ROOT, f"{SERVICE}.Manager", "ListJobs")
            assert jobs == [[]]
            await until_owned(client, owned=False)


async def test_no_call_is_lost_while_service_starts_and_exits(activating_bus: Bus) -> None:
    """Calls at every moment of an idle exit are all answered.

    The first one of a round comes when the exit may have begun, so that it does not put it off.
    """
    address = activating_bus.address
    async with await Connection.opened(session=True, address=address) as client:

        async def call(delay: float) -> None:
            await asyncio.sleep(delay)
            _number, path = await client.ask(
                *(SERVICE, ROOT, f"{SERVICE}.Manager", "Pull", "ssa{sv}"),
                ["docker://x.test/y", "nowhere", {}],
            )
            assert path.startswith(f"{ROOT}/job/")

        for offset in (0.998, 1.0, 1.002):
            await client.ask(SERVICE, ROOT, f"{SERVICE}.Manager", "ListJobs")
            await asyncio.gather(*(call(offset + step / 1000) for step in range(50)))
        await until_owned(client, owned=False)


async def test_status_is_reported_to_systemd(bus: Bus, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = str(tmp_path / "notify")
        listener.bind(path)
        listener.setblocking(False)
        env = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}
        heard: list[str] = []

        def hear() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    heard.append(listener.recv(4096).decode())

        # From the beginning: the socket holds ten messages, and who sends the next one waits.
        asyncio.get_running_loop().add_reader(listener, hear)
        async with virtlayerd(bus, tmp_path, env=env) as daemon:
            await daemon.ask("Pull", "ssa{sv}", "docker://x.test/y", "nowhere", {})
            await until(lambda: heard.count("WATCHDOG=1") >= 2)
            await until(lambda: "STATUS=1 running, 0 waiting" in heard)
            daemon.process.terminate()
            assert (await daemon.wait())[0] == 0
        asyncio.get_running_loop().remove_reader(listener)
        hear()
    assert heard[0] == "READY=1\nSTATUS=Idle"
    assert heard.count("WATCHDOG=1") >= 2
    assert "STATUS=0 running, 1 waiting" in heard
    assert "STATUS=1 running, 0 waiting" in heard
    # The watchdog is notified until the end.
    assert [one for one in heard if one != "WATCHDOG=1"][-1].startswith("STOPPING=1")


async def test_service_stops_in_time_with_running_jobs(bus: Bus, tmp_path: Path) -> None:
    """The source accepts the connection and never answers."""

    connected, over = asyncio.Event(), asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with virtlayerd(bus, tmp_path) as daemon:
        inspecting = asyncio.create_task(
            daemon.refused("Inspect", "sa{sv}", f"docker://127.0.0.1:{port}/x", {})
        )
        await connected.wait()
        begun = time.monotonic()
        daemon.process.terminate()
        assert (await daemon.wait())[0] == 0
        assert time.monotonic() - begun < 10
        assert await inspecting == "Cancelled"
    over.set()
    server.close()
    await server.wait_closed()
