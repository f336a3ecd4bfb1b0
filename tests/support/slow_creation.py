# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirtd that takes as long to create a volume as a test wants: its pool is busy meanwhile."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.libvirt_host import LibvirtHost
from tests.support.waiting import until


class SlowCreation:
    """Made with ``slow_creation``."""

    def __init__(self, running: Path, gate: Path) -> None:
        self._running = running
        self._gate = gate

    async def has_begun(self) -> None:
        """Wait until libvirtd has started to create the volume."""
        await until(lambda: self._running.exists())

    def go_on(self) -> None:
        """Let the creation end."""
        self._gate.unlink(missing_ok=True)


@contextlib.contextmanager
def slow_creation(host: LibvirtHost) -> Iterator[SlowCreation]:
    """While it lasts, libvirtd's qemu-img says that it runs, and waits to be told to go on."""
    running, gate = host.directory / "running", host.directory / "gate"
    running.unlink(missing_ok=True)
    gate.touch()
    program = host.directory / "bin" / "qemu-img"
    program.write_text(
        f"#!/bin/sh\ntouch {running}\nwhile [ -e {gate} ]; do sleep 0.01; done\n"
        'exec /usr/bin/qemu-img "$@"\n'
    )
    program.chmod(0o755)
    creation = SlowCreation(running, gate)
    try:
        yield creation
    finally:
        creation.go_on()
        program.unlink()
