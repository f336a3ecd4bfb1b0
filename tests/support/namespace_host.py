# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host of its own in namespaces, with everything that virtlayer needs, and its power switch.

It has its own mounts, process ids, host name, machine id and boot id, /run and libvirt directories,
a libvirtd, a dbus-daemon and a virtlayerd. Only root can make one. It shares the network with the
test, so that it reaches the test's registries.

    with hosts(directory, "a", "b") as (a, b):
        async with watching(a.bus.address) as watch: ...
        b.kill_daemon()
        b.power_off()
        b.start()

What a host had below ``/run`` is lost when its power is cut; everything else is still there.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import logs
from tests.support.bus_daemon import Bus, session_bus
from tests.support.leftovers import children_of
from tests.support.libvirt_host import LibvirtHost
from tests.support.virtlayerd import Daemon, start_virtlayerd

_LOST = "run"
"""Directories of a host that a power failure clears."""
_KEPT = ("etc/libvirt", "var/lib/libvirt", "var/cache/libvirt", "var/log/libvirt")
"""Directories that survive."""
_FILES = {"machine-id": "/etc/machine-id", "boot-id": "/proc/sys/kernel/random/boot_id"}
"""Its own ids, and where they are."""

# bash, because it reaps what it inherits. It ends with the test, whose end of the pipe it reads.
_BEGIN = """
set -e
private=$1 config=$2; shift 2; hostname "$1"; shift
while [ $# -gt 0 ]; do mount --bind "$private/$1" "$2"; shift 2; done
cp "$config"/*.conf /etc/libvirt/
"""
_READY = "echo ready\nread -r _\n"


class NamespaceHost(LibvirtHost):
    """A host; it runs between ``start`` and ``power_off``.

    Args:
        directory: Everything that it does not share is below it.
        name: Its host name.
        settings: What its virtlayerd.toml says.

    Attributes:
        name: Its host name.
    """

    def __init__(self, directory: Path, name: str, *, settings: str = "") -> None:
        directory.mkdir()
        super().__init__(directory, session=False)
        self.name = name
        self._settings = settings
        self._private = directory / "private"
        self._namespace: subprocess.Popen[str] | None = None
        self._life = contextlib.ExitStack()
        self._bus: Bus | None = None
        self._daemon: Daemon | None = None
        for place in ("bus", "virtlayerd"):
            (directory / place).mkdir()
        for place in _KEPT:
            (self._private / place).mkdir(parents=True, exist_ok=True)
        self._write_id("machine-id")

    @property
    def bus(self) -> Bus:
        """Its bus."""
        assert self._bus is not None, f"{self.name} does not run"
        return self._bus

    @property
    def daemon(self) -> Daemon:
        """Its virtlayerd."""
        assert self._daemon is not None, f"virtlayerd does not run on {self.name}"
        return self._daemon

    @property
    def daemon_directory(self) -> Path:
        """State, cache, settings and log of its virtlayerd, which outlive it."""
        return self.directory / "virtlayerd"

    @property
    def daemon_log(self) -> str:
        """The log of its virtlayerds."""
        return (self.daemon_directory / "log").read_text(errors="replace")

    @property
    def runs(self) -> bool:
        """Whether it is on, and its virtlayerd runs."""
        return self._daemon is not None

    def as_owner(self, *argv: str) -> list[str]:
        """The command line that runs a program on this host."""
        return [*self._inside(), *argv]

    def start(self) -> None:
        """Switch it on, and wait for libvirtd, its shared pools, the bus and virtlayerd."""
        self._boot()
        super().start()
        life = self._life
        place = self.directory / "bus"
        (place / "bus").unlink(missing_ok=True)
        self._bus = life.enter_context(session_bus(place, inside=self._inside()))
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start virtlayerd, which does not run."""
        assert self._daemon is None, "virtlayerd is running already"
        self._daemon = start_virtlayerd(
            self, self.bus, self.daemon_directory, settings=self._settings
        )

    def kill_daemon(self) -> None:
        """Kill virtlayerd (SIGKILL); its keeper and its programs end by themselves."""
        daemon, self._daemon = self.daemon, None
        [pid] = children_of(daemon.process.pid)
        os.kill(pid, signal.SIGKILL)
        daemon.process.wait()

    def forget(self) -> None:
        """Delete the state and the cache of virtlayerd, which does not run."""
        assert self._daemon is None, "virtlayerd is running"
        for place in ("state", "cache"):
            shutil.rmtree(self.daemon_directory / place)

    def power_off(self) -> None:
        """Cut the power: every process is killed at once."""
        if self._namespace is None:
            return
        namespace, self._namespace = self._namespace, None
        for pid in children_of(namespace.pid):
            os.kill(pid, signal.SIGKILL)
        namespace.communicate()
        super().kill()
        if self._daemon is not None:
            self._daemon.process.wait()
        self._daemon = self._bus = None
        self._life.close()

    def kill(self) -> None:
        """See ``power_off``."""
        self.power_off()

    def share(self, pool: str, path: Path) -> None:
        """Define and start a pool with a directory that others may have too; it starts at boot."""
        self.start_pool(pool, path)
        self.virsh("pool-autostart", pool)

    @property
    def _first_process(self) -> str:
        return f"{_BEGIN}{self.preparation}{_READY}"

    def _boot(self) -> None:
        assert self._namespace is None, f"{self.name} is on"
        shutil.rmtree(self._private / _LOST, ignore_errors=True)
        (self._private / _LOST / "libvirt").mkdir(parents=True)
        self._write_id("boot-id")
        mounts = {place: f"/{place}" for place in (_LOST, *_KEPT)} | _FILES
        flat = [str(word) for mount in mounts.items() for word in mount]
        config = self.directory / "config" / "libvirt"
        self._namespace = subprocess.Popen(
            [
                *("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"),
                *("--mount-proc", "bash", "-c", self._first_process, self.name),
                *(str(self._private), str(config), self.name, *flat),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._namespace.stdout is not None
        assert self._namespace.stdout.readline() == "ready\n", f"{self.name} does not start"

    def _inside(self) -> list[str]:
        assert self._namespace is not None, f"{self.name} is off"
        [first] = children_of(self._namespace.pid)
        return ["nsenter", f"--target={first}", "--mount", "--uts", "--pid", "--"]

    def _command(self) -> list[str]:
        config = self.directory / "config" / "libvirt" / "libvirtd.conf"
        return self.as_owner("libvirtd", "--config", str(config))

    def _write_id(self, name: str) -> None:
        (self._private / name).write_text(f"{uuid.uuid4().hex}\n")


@contextlib.contextmanager
def hosts(*names: str, settings: str = "") -> Iterator[tuple[NamespaceHost, ...]]:
    """Hosts that run, and are off afterwards.

    Args:
        names: Their host names.
        settings: What their virtlayerd.toml says.
    """
    # The path of a socket has at most 107 bytes, too few for pytest's directories.
    with tempfile.TemporaryDirectory(prefix="vl-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        made = tuple(NamespaceHost(place / name, name, settings=settings) for name in names)
        with contextlib.ExitStack() as life:
            life.callback(logs.keep, place)
            for host in made:
                life.callback(host.close)
            with ThreadPoolExecutor(len(made)) as threads:
                list(threads.map(NamespaceHost.start, made))
            yield made
