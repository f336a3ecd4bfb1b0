# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files and ports of a machine as the keeper opens them, without a machine.

The files are opened and watched by the keeper's code; they are rotated as virtlogd does it.
"""

import os
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from virtlayer.errors import DomainFailed, InUse
from virtlayer.file_changes import new_watcher
from virtlayer.keeper.domains.ports import open_log
from virtlayer.protocol.domains import Boot, DomainType, KnownDomain, Port, State
from virtlayer.protocol.domains import Domains as ListedDomains
from virtlayer.service.keeper.domains import OpenedLog

UUID = "11111111-2222-3333-4444-555555555555"
BACKUPS = 3
"""max_backups of virtlogd.conf(5)."""


@dataclass
class LogFile:
    """A log file, written and rotated as by virtlogd."""

    path: Path

    def write(self, content: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            file.write(content)

    def rename(self) -> None:
        """Do the first half of a rotation: the name is free afterwards."""
        for number in range(BACKUPS - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number - 1}")
            if older.exists():
                older.rename(f"{self.path}.{number}")
        self.path.rename(f"{self.path}.0")

    def rotate(self) -> None:
        self.rename()
        self.path.touch()


@dataclass
class MachinePorts:
    """Takes the place of the keeper's stub: the ports of one machine."""

    directory: Path
    machine: KnownDomain
    state: State | None = State.RUNNING
    far_ends: dict[Port, socket.socket] = field(default_factory=dict)
    refused: set[Port] = field(default_factory=set)
    busy: set[Port] = field(default_factory=set)

    def log(self, port: Port) -> LogFile:
        return LogFile(self.directory / str(port))

    async def list(self, _since: int | None = None) -> ListedDomains:
        if self.state is None:
            return ListedDomains(generation=1, domains=())
        return ListedDomains(generation=1, domains=(replace(self.machine, state=self.state),))

    async def open_log(self, uuid: str, port: Port, rotated: int = 0) -> OpenedLog | None:
        assert uuid == UUID
        watcher = new_watcher()
        try:
            file = open_log(self.log(port).path, rotated, [watcher])
        except BaseException:
            os.close(watcher)
            raise
        if file is None:
            os.close(watcher)
            return None
        return OpenedLog(file, watcher)

    async def open_line(self, uuid: str, port: Port) -> socket.socket:
        assert uuid == UUID
        if port in self.refused:
            raise DomainFailed("It does not run.")
        if port in self.busy:
            raise InUse("It is open in another program.")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        if former := self.far_ends.get(port):
            former.close()
        self.far_ends[port] = ours
        return theirs

    def close(self) -> None:
        for end in self.far_ends.values():
            end.close()


def machine_ports(directory: Path, *, has_streams: bool = True, **fields: Any) -> MachinePorts:
    """Return the ports of a running machine, whose logs are in a directory.

    Args:
        directory: For its logs.
        has_streams: Whether it has our init.
        fields: Other properties of the machine.
    """
    machine = KnownDomain(
        name="web",
        uuid=UUID,
        state=State.RUNNING,
        pool=UUID,
        image="debian",
        digest="",
        disk="web.qcow2",
        type=DomainType.QEMU,
        boot=Boot.OWN_INITRD,
        has_streams=has_streams,
        ephemeral=False,
        autostart=False,
        memory=2**30,
        processors=1,
        addresses=(),
        ports=(),
    )
    return MachinePorts(directory, replace(machine, **fields))
