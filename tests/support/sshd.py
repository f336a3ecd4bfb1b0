# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real sshd on this machine that plays another host, and the ssh of a user who knows it.

::

    with sshd(directory, daemon.environment) as there:
        ... run commands with --host=there and env=there.environment ...
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.command import COMMAND
from tests.support.free_ports import free_port
from tests.support.waiting import PATIENCE

_SSHD = "/usr/sbin/sshd"
_SETTINGS = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub {directory}/restricted_keys
UsePAM no
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv {variables}
"""
_CLIENT = """\
Host there
    HostName 127.0.0.1
    Port {port}
    HostKeyAlias there
Host forgotten
    HostName 127.0.0.1
    Port {port}
    HostKeyAlias forgotten
    StrictHostKeyChecking yes
Host asked
    HostName 127.0.0.1
    Port {port}
    HostKeyAlias asked
    StrictHostKeyChecking ask
Host not-admitted
    HostName 127.0.0.1
    Port {port}
    HostKeyAlias there
    IdentityFile {directory}/other_key
Host restricted
    HostName 127.0.0.1
    Port {port}
    HostKeyAlias there
    IdentityFile {directory}/bridge_key
Host * !not-admitted !restricted
    IdentityFile {directory}/user_key
Host *
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {directory}/known_hosts
    GlobalKnownHostsFile none
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running sshd.

    Attributes:
        port: On 127.0.0.1.
        process: The process.
        environment: For commands here: their ssh has the alias "there" for it, "forgotten" if its
            key is not known, "asked" if it asks about that, "restricted" with a key for
            virtlayer only, and "not-admitted" for a user whom it does not admit.
        directory: Keys and settings.
    """

    port: int
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    directory: Path

    @property
    def sessions(self) -> list[int]:
        """The processes of its connections, and what they have started."""
        return _descendants(self.process.pid)

    @property
    def bridges(self) -> list[int]:
        """The bridges that run."""
        return [pid for pid in self.sessions if b"--bridge" in _arguments(pid)]

    def lose_connections(self) -> None:
        """Kill the processes of all connections, not what they have started."""
        for pid in self.sessions:
            if b"sshd" in _arguments(pid)[0]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def sshd(
    directory: Path, variables: Mapping[str, str], *, settings: Sequence[str] = ()
) -> Iterator[Sshd]:
    """Run an sshd that lets this user in.

    Args:
        directory: An empty one.
        variables: Of the programs that it starts; virtlayer is in their PATH.
        settings: Further lines of its sshd_config(5).
    """
    for name in ("host_key", "user_key", "other_key", "bridge_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True
        )
    public = (directory / "bridge_key.pub").read_text()
    # As in docs/hosts.md.
    (directory / "restricted_keys").write_text(
        f'restrict,command="virtlayer --user --bridge" {public}'
    )
    port = free_port()
    given = {"PATH": f"{COMMAND.parent}:/usr/bin:/bin"} | dict(variables)
    (directory / "sshd_config").write_text(
        _SETTINGS.format(
            port=port,
            directory=directory,
            variables=" ".join(f'"{name}={value}"' for name, value in given.items()),
        )
        + "".join(f"{line}\n" for line in settings)
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    command = [_SSHD, "-D", "-e", "-f", str(directory / "sshd_config")]
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            _wait_for(port, process, directory / "log")
            yield Sshd(port, process, _user(directory, port), directory)
        finally:
            for pid in (process.pid, *_descendants(process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)


def _user(directory: Path, port: int) -> dict[str, str]:
    """Make the settings of a user's ssh; return an environment in which it has them."""
    (directory / "config").write_text(_CLIENT.format(port=port, directory=directory))
    public = (directory / "host_key.pub").read_text()
    (directory / "known_hosts").write_text(f"there {public}")
    programs = directory / "bin"
    programs.mkdir()
    # ssh looks for the settings where the user's home is, whatever HOME says.
    (programs / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {directory}/config "$@"\n')
    (programs / "ssh").chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "LANG": "C.UTF-8", "HOME": str(directory)}


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"sshd does not start:\n{log.read_text()}")
        time.sleep(0.02)


def _descendants(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _arguments(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return [b""]
