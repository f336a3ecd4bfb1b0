# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real cockpit-ws with the page of ``make cockpit``, and a headless Chromium that shows it.

::

    with cockpit(directory, environment) as web, browser() as chromium:
        page = chromium.new_page()
        page.goto(web.address)
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

DIST = Path(__file__).parent.parent.parent / "cockpit" / "dist"
_PATIENCE = 20.0
"""Seconds after which a cockpit-ws that does not listen fails the test."""


@dataclass(frozen=True, slots=True)
class Cockpit:
    """A running cockpit-ws.

    Attributes:
        address: Of the page "Container images", without Cockpit's shell around it.
        shell: Of Cockpit's shell with the page in it.
    """

    address: str
    shell: str


@contextlib.contextmanager
def cockpit(directory: Path, environment: dict[str, str]) -> Iterator[Cockpit]:
    """Run cockpit-ws for this user, without a login; it and its bridge have ended afterwards.

    Args:
        directory: An empty one.
        environment: Of the bridge: it names the buses.
    """
    assert (DIST / "index.js").exists(), "the page is not built: run `make cockpit`"
    packages = directory / "share" / "cockpit"
    packages.mkdir(parents=True)
    packages.joinpath("virtlayer").symlink_to(DIST)
    port = _free_port()
    command = (
        "/usr/lib/cockpit/cockpit-ws",
        "--no-tls",
        "--address=127.0.0.1",
        f"--port={port}",
        "--local-session=cockpit-bridge",
    )
    with (directory / "cockpit.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env=environment | {"XDG_DATA_DIRS": f"{directory}/share:/usr/share"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_it_listens(port, process)
        host = f"http://127.0.0.1:{port}"
        yield Cockpit(f"{host}/cockpit/@localhost/virtlayer/index.html", f"{host}/virtlayer")
    finally:
        # The bridge is in its process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium that connects to nothing but what a test opens."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", port)),
        ):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError("cockpit-ws does not listen")
        time.sleep(0.05)
