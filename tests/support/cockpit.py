# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real cockpit-ws with the page of ``make cockpit``, and a headless Chromium that shows it.

::

    with cockpit(directory, environment) as web, browser() as chromium:
        page = chromium.new_page()
        page.goto(web.address)
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.bus_daemon import system_bus
from tests.support.free_ports import free_port
from tests.support.ordinary_user import as_user
from tests.support.waiting import PATIENCE

DIST = Path(__file__).parent.parent.parent / "cockpit" / "dist"


@dataclass(frozen=True, slots=True)
class Cockpit:
    """A running cockpit-ws.

    Attributes:
        host: The start of every address that it serves, "http://127.0.0.1:PORT/".
        address: Of the page "Container images", without Cockpit's shell around it.
        shell: Of Cockpit's shell with the page in it.
    """

    host: str
    address: str
    shell: str


@contextlib.contextmanager
def cockpit(
    directory: Path, environment: dict[str, str], *, uid: int | None = None
) -> Iterator[Cockpit]:
    """Run cockpit-ws for a user, without a login.

    It, its bridge and what that has started have ended afterwards. There is always a system bus:
    the bridge of Cockpit 337 ends when it is asked a second time for a bus that does not exist.

    Args:
        directory: An empty one.
        environment: Of the bridge: it names the session bus, and a system bus if a test has one.
        uid: The user, by default who runs the tests; another one can read the directory.
    """
    assert (DIST / "index.js").exists(), "the page is not built: run `make cockpit`"
    packages = directory / "share" / "cockpit"
    packages.mkdir(parents=True)
    if uid is None:
        packages.joinpath("virtlayer").symlink_to(DIST)
    else:
        shutil.copytree(DIST, packages / "virtlayer")
    port = free_port()
    command = (
        "/usr/lib/cockpit/cockpit-ws",
        "--no-tls",
        "--address=127.0.0.1",
        f"--port={port}",
        "--local-session=cockpit-bridge",
    )
    environment = environment | {
        "XDG_DATA_DIRS": f"{directory}/share:/usr/share",
        # Otherwise the bridge starts an agent, which looks only every ten seconds whether it ends.
        "SSH_AUTH_SOCK": "",
    }
    with contextlib.ExitStack() as ending:
        if "DBUS_SYSTEM_BUS_ADDRESS" not in environment:
            bus = directory / "bus"
            bus.mkdir()
            address = ending.enter_context(system_bus(bus)).address
            environment |= {"DBUS_SYSTEM_BUS_ADDRESS": address}
        log = ending.enter_context((directory / "cockpit.log").open("ab"))
        process = subprocess.Popen(
            command if uid is None else as_user(uid, *command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        ending.callback(_assert_ended, f"XDG_DATA_DIRS={directory}/share:/usr/share")
        ending.callback(_end, process)
        _wait_until_it_listens(port, process)
        host = f"http://127.0.0.1:{port}/"
        yield Cockpit(host, f"{host}cockpit/@localhost/virtlayer/index.html", f"{host}virtlayer")


def _end(process: subprocess.Popen[bytes]) -> None:
    # The bridge is in its process group; a console that it has started ends with its terminal.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait()


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium that connects to nothing but what a test opens.

    It stores everything in a directory of its own, which is removed when its processes have ended.
    """
    with tempfile.TemporaryDirectory(prefix="chromium-") as directory:
        with pytest.MonkeyPatch.context() as environment:
            for name in ("HOME", "TMPDIR"):
                environment.setenv(name, directory)
            starting = sync_playwright()
            playwright = starting.start()
        try:
            chromium = playwright.chromium.launch(
                executable_path="/usr/bin/chromium-headless-shell",
                args=[
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                ],
            )
            try:
                yield chromium
            finally:
                chromium.close()
        finally:
            playwright.stop()
            _assert_ended(f"TMPDIR={directory}")


def _assert_ended(variable: str) -> None:
    """Fail if a process has this in its environment, "NAME=value", and does not end."""
    deadline = time.monotonic() + PATIENCE
    while (left := _processes_with(variable)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"processes: {left}"


def _processes_with(variable: str) -> dict[int, str]:
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        # A process of another user is none of these; one that has just ended has no files.
        with contextlib.suppress(OSError):
            if variable.encode() in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(process.name)] = command
    return found


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", port)),
        ):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError("cockpit-ws does not listen")
        time.sleep(0.05)
