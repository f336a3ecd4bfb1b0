# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Debian system in a container, with its own systemd as process 1.

::

    with booted(root, directory) as system:
        system.run("systemctl", "is-system-running")
        system.run_as("alice", "busctl", "list")

Its writes go to memory: the root directory does not change. Its network is its own, because
systemd ignores PrivateNetwork= in a container that shares its host's; ports of registries that a
test has on loopback are forwarded.
"""

import contextlib
import json
import os
import select
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.forwarding import forwarded, name_server

PATIENCE = 60.0
"""Seconds after which something that was to happen fails the test."""

_SHARED = "/shared"
_MONITOR = ("busctl", "--json=short", "monitor", "--match=type='signal'")

# systemd wants the unified hierarchy, and nspawn offers its guest what the host has. Everything is
# in namespaces of its own, so the host's stays as it was.
_BOOT = f"""\
mount --make-rprivate /
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
exec systemd-nspawn --quiet --boot --directory="$1" --volatile=overlay --bind-ro="$2:{_SHARED}" \
    --machine=virtlayer-acceptance --register=no --keep-unit --console=pipe --link-journal=no \
    --resolv-conf=off --timezone=off --notify-ready=yes --private-network
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    status: int
    stdout: str
    stderr: str


class Started:
    """A command that was started."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ended(self) -> Ended:
        """Wait for its end."""
        stdout, stderr = self._process.communicate(timeout=5 * PATIENCE)
        return Ended(self._process.returncode, stdout, stderr)


class System:
    """A running system.

    Args:
        leader: Its process 1, as this machine counts.
        shared: A directory of this machine that it sees as ``shared_path``.
    """

    shared_path = Path(_SHARED)

    def __init__(self, leader: int, shared: Path) -> None:
        self.shared = shared
        self._leader = leader
        self._enter = [
            *("nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid"),
            *(
                "--cgroup",
                "--root",
                "--wd",
                "env",
                "--ignore-environment",
                "LANG=C.UTF-8",
                "SYSTEMD_PAGER=",
            ),
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]

    def attempt(self, *command: str, stdin: str = "") -> Ended:
        """Run a command as root, however it ends."""
        done = subprocess.run(
            [*self._enter, *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=5 * PATIENCE,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command as root; return what it prints.

        Raises:
            AssertionError: It fails.
        """
        return _checked(command, self.attempt(*command, stdin=stdin))

    @contextlib.contextmanager
    def started(self, *command: str, stdin: str = "") -> Iterator["Started"]:
        """Start a command as root; if it still runs at the end of the context, it is killed."""
        with subprocess.Popen(
            [*self._enter, "setpriv", "--pdeathsig=KILL", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdin is not None
                process.stdin.write(stdin)
                process.stdin.close()
                process.stdin = None
                yield Started(process)
            finally:
                process.kill()

    def attempt_as(self, user: str, *command: str, stdin: str = "") -> Ended:
        """Run a command as a user of the system, in a unit of its own, however it ends."""
        runtime = f"/run/user/{self.uid(user)}"
        return self.attempt(
            *("systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--uid={user}"),
            f"--setenv=XDG_RUNTIME_DIR={runtime}",
            f"--setenv=DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus",
            "--",
            *command,
            stdin=stdin,
        )

    def run_as(self, user: str, *command: str, stdin: str = "") -> str:
        """Run a command as a user of the system; return what it prints.

        Raises:
            AssertionError: It fails.
        """
        return _checked(command, self.attempt_as(user, *command, stdin=stdin))

    def uid(self, user: str) -> int:
        """The number of a user."""
        return int(self.run("id", "--user", user))

    def unit(self, name: str, property_name: str) -> str:
        """A property of a unit, as ``systemctl show`` prints it."""
        return self.run("systemctl", "show", f"--property={property_name}", "--value", name).strip()

    def journal(self, *matches: str) -> str:
        """The journal of this boot."""
        return self.run("journalctl", "--boot", "--no-pager", "--output=short", *matches)

    def forward(self, port: int) -> AbstractContextManager[None]:
        """Let it reach a port on this machine's loopback device while the context lasts."""
        return forwarded(self._leader, port)

    def name_server(self) -> AbstractContextManager[None]:
        """Let its name server, on its loopback device, call every host 127.0.0.1."""
        return name_server(self._leader)

    @contextlib.contextmanager
    def monitor(self) -> Iterator["Monitor"]:
        """Listen to the signals on the system bus, as root, for as long as the context lasts."""
        with subprocess.Popen(
            # nsenter's death would leave its child alive.
            [*self._enter, "setpriv", "--pdeathsig=KILL", *_MONITOR],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            overdue = threading.Timer(PATIENCE, process.kill)
            overdue.start()
            try:
                monitor = Monitor(process)
                while not monitor.hears():
                    self.run("busctl", "emit", "/", "org.virtlayer1.Acceptance", "Begin")
                monitor.signals_until("Begin")
                yield monitor
            finally:
                overdue.cancel()
                process.kill()


class Monitor:
    """A running ``busctl monitor``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout

    def hears(self) -> bool:
        """Whether there is a signal within a moment."""
        return bool(select.select([self._stdout], [], [], 0.1)[0])

    def signals_until(self, member: str) -> list[dict[str, Any]]:
        """The service's signals up to the first one of that name, which is the last.

        Raises:
            AssertionError: It did not come in time.
        """
        signals = []
        for line in self._stdout:
            message = json.loads(line)
            if message["interface"].startswith("org.virtlayer1."):
                signals.append(message)
                if message["member"] == member:
                    return signals
        raise AssertionError(f"no signal {member} within {PATIENCE:.0f} seconds")


@contextlib.contextmanager
def booted(root: Path, shared: Path) -> Iterator[System]:
    """Boot a system; afterwards it is off, and its changes are discarded.

    Args:
        root: Its root directory.
        shared: A directory that it can read.
    """
    with subprocess.Popen(
        [
            # If the tests are killed, it is asked to shut down just as well.
            *("setpriv", "--pdeathsig=TERM"),
            *("unshare", "--mount", "--cgroup", "sh", "-ec", _BOOT, "sh", root, shared),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"]},
    ) as process:
        try:
            system = System(_leader(process), shared)
            wait_until("the system is up", lambda: _is_up(system))
            yield system
        finally:
            # Asks systemd to shut down.
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until(what: str, happened: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something has happened.

    Raises:
        AssertionError: It did not happen in time.
    """
    deadline = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < deadline, f"not within {patience:.0f} seconds: {what}"
        time.sleep(0.1)


def _is_up(system: System) -> bool:
    state = system.attempt("systemctl", "is-system-running").stdout.strip()
    assert state != "degraded", system.run("systemctl", "--failed", "--no-legend")
    return state == "running"


def _leader(nspawn: subprocess.Popen[bytes]) -> int:
    """The process 1 of the container: nspawn's child whose name is systemd's."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if nspawn.poll() is not None:
            assert nspawn.stdout is not None
            raise AssertionError(f"systemd-nspawn ended: {nspawn.stdout.read().decode()}")
        children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
        for child in map(int, children):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return child
        time.sleep(0.05)
    raise AssertionError("systemd-nspawn starts no systemd")


def _checked(command: tuple[str, ...], ended: Ended) -> str:
    assert ended.status == 0, (
        f"{shlex.join(command)} exited with {ended.status}:\n{ended.stdout}{ended.stderr}"
    )
    return ended.stdout
