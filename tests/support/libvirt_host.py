# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirtd of the test's own, with directory pools, seen independently through virsh.

``session_host()`` is the libvirtd of an ordinary user (of ``nobody`` when the tests run as root,
because libvirtd decides by its uid). For root, ``private_host()`` is a system libvirtd in a mount
namespace where the test's own directories lie over ``/etc/libvirt``, ``/run/libvirt`` and the like:
it does not disturb other libvirtds, and several can run at a time.

Neither needs a variable in the environment of its clients: the URI names the socket.

    with session_host() as host:
        pool = host.start_pool("default")
        ... Hypervisor(host.uri) ...
        assert host.volumes("default") == []
"""

import contextlib
import os
import pwd
import re
import select
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support import logs
from tests.support.cache import CACHE
from tests.support.ordinary_user import as_user
from tests.support.pool_content import OWN
from tests.support.waiting import PATIENCE
from tests.support.without_kvm import without_kvm

_CRASH = re.compile(r"segfault|traps:|type=1701|Killed process")

LIBRBD_THREAD = "io_context_pool"
"""The name of the threads that librbd has, and nothing else in libvirtd."""
_POOL_NAME = re.compile(r"<pool[^>]*>\s*<name>([^<]*)</name>")

_PRIVATE = (
    "/etc/libvirt",
    "/run/libvirt",
    "/var/lib/libvirt",
    "/var/lib/virtlayer",
    "/var/cache/libvirt",
    "/var/log/libvirt",
)


class LibvirtHost:
    """One libvirtd, its directories, and the pools that a test starts in it.

    Attributes:
        uri: What a client opens.
        directory: Everything of this host is below it; its path is short and every user may
            pass through it.
        owner: The uid that libvirtd runs with; pool directories belong to it.

    A program in ``directory / "bin"`` takes the place of one that libvirtd would run. A system
    libvirtd finds no KVM, unless a test wants it.
    """

    def __init__(self, directory: Path, *, session: bool, kvm: bool = False) -> None:
        self.directory = directory
        self._kvm = kvm
        self.session = session
        self._pools: set[str] = set()
        self.owner = os.geteuid()
        if session and self.owner == 0:
            self.owner = pwd.getpwnam("nobody").pw_uid
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_directory = directory / "run" / "libvirt"
        for name in (
            "bin",
            "run",
            "run/libvirt",
            "config",
            "config/libvirt",
            "data",
            "cache",
            "home",
        ):
            self._make_directory(directory / name, 0o700 if session else 0o755)
        self._capabilities = directory / "private/var/cache/libvirt/qemu/capabilities"
        kept = CACHE / self.capabilities_kind
        if not session and kept.exists():
            shutil.copytree(kept, self._capabilities)
        self._configure()
        logs.follow("libvirtd", directory, "libvirtd.log")
        machines = "cache/libvirt/qemu/log/*" if session else "private/var/log/libvirt/*/*"
        logs.follow("machine", directory, machines)
        kind = "session" if session else "system"
        self.uri = f"qemu+unix:///{kind}?socket={self._socket_directory / 'libvirt-sock'}"

    @property
    def capabilities_kind(self) -> str:
        """What libvirtd finds out about QEMU differs without KVM."""
        return "qemu-capabilities" if self._kvm else "qemu-capabilities-tcg"

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces of a system libvirtd, as options of unshare(1) and nsenter(1)."""
        return ("--mount",)

    @property
    def preparation(self) -> str:
        """A script that a system libvirtd's mount namespace is prepared with."""
        return "" if self._kvm else without_kvm(self.directory / "dev")

    @property
    def pid(self) -> int:
        """The process id of the running libvirtd."""
        assert self._process is not None, "libvirtd is not running"
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process on this host, as libvirtd has it."""
        return {
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": str(self.directory / "home"),
            "XDG_RUNTIME_DIR": str(self.directory / "run"),
            "XDG_CONFIG_HOME": str(self.directory / "config"),
            "XDG_DATA_HOME": str(self.directory / "data"),
            "XDG_CACHE_HOME": str(self.directory / "cache"),
        }

    def as_owner(self, *argv: str) -> list[str]:
        """The command line that runs a program with the uid of this libvirtd."""
        return [str(part) for part in as_user(self.owner, *argv)]

    def start(self) -> None:
        """Start libvirtd, and wait until it answers."""
        assert self._process is None, "libvirtd is running already"
        with (self.directory / "libvirtd.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while self._call_virsh("uri").returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError("libvirtd does not start:\n" + self.log())
            time.sleep(0.02)
        if not self.session:
            # Before this, it would keep the first question about its QEMU waiting for 8 s.
            self.virsh("capabilities")
            _keep_capabilities(self._capabilities, CACHE / self.capabilities_kind)

    def kill(self) -> None:
        """End libvirtd as a crash would. (Asked politely, it takes up to 30 s without a bus.)"""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """End libvirtd and start it again; pools that ran stay active, as libvirt promises."""
        self.kill()
        self.start()

    def log(self) -> str:
        """The output of libvirtd."""
        return (self.directory / "libvirtd.log").read_text(errors="replace")

    def virsh(self, *arguments: str) -> str:
        """Run a virsh command against this libvirtd, and return what it prints."""
        done = self._call_virsh(*arguments)
        if done.returncode != 0:
            self.assert_running()
            raise AssertionError(f"virsh {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def assert_running(self) -> None:
        """Fail if libvirtd has ended without being asked to, and say all that is known of it."""
        status = None if self._process is None else self._process.poll()
        if status is not None:
            raise AssertionError(
                f"libvirtd {self.pid} has ended with status {status}. Its log:\n{self.log()}\n"
                f"What the kernel says of crashes:\n{_crashes()}"
            )

    def librbd_abort(self, *, wait: bool = False) -> str | None:
        """What is known of this libvirtd, if librbd has aborted it: see docs/pools.md.

        Its exit status is SIGABRT, and the kernel names a thread of librbd, if it may be asked.

        Args:
            wait: Whether it ends at this moment: its sockets are closed before it can be reaped.
        """
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE if wait else 0)
        if self._process.returncode != -signal.SIGABRT:
            return None
        lines = [line for line in _crashes().splitlines() if f" pid={self.pid} " in line]
        if any(f'comm="{LIBRBD_THREAD}"' not in line for line in lines):
            return None
        return "\n".join([f"librbd has aborted libvirtd {self.pid}. Its log:", self.log(), *lines])

    def is_unreachable_in(self, failure: BaseException) -> bool:
        """Whether virtlayer or virsh has failed because it cannot reach this libvirtd."""
        reasons = (
            # Only a PoolUnavailable of the keeper says this.
            f"Cannot connect to libvirt at {self.uri}: ",
            # virsh, and its caller.
            f"Disconnected from {self.uri} due to ",
            f"libvirtd {self.pid} has ended with status ",
        )
        return any(reason in str(failure) for reason in reasons)

    def pool_directory(self, name: str) -> Path:
        """Make a directory for a pool, which libvirtd and the machines' users can reach."""
        self._make_directory(self.directory / "pools", 0o755)
        return self._make_directory(self.directory / "pools" / name, 0o755)

    def start_pool(self, name: str, path: Path | None = None) -> Path:
        """Define and start a pool of type dir; return its path.

        Args:
            name: The pool's name.
            path: An existing directory, by default a new one.
        """
        self.define_pool(name, path)
        self.virsh("pool-start", name)
        return path or self.pool_directory(name)

    def define_pool(self, name: str, path: Path | None = None) -> None:
        """Define a pool of type dir, and leave it inactive."""
        path = path or self.pool_directory(name)
        self.define_pool_xml(
            f"<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"
        )

    def define_pool_xml(self, xml: str) -> None:
        """Define a pool of any type by its XML, and leave it inactive."""
        description = self.directory / "pool.xml"
        description.write_text(xml)
        self.virsh("pool-define", str(description))
        self._pools.update(_POOL_NAME.findall(xml))

    def stop_pool(self, name: str) -> None:
        """Stop a pool and forget it; its files stay."""
        self.virsh("pool-destroy", name)
        self.virsh("pool-undefine", name)
        self._pools.discard(name)

    @contextlib.contextmanager
    def no_pool_left(self) -> Iterator[None]:
        """Stop the pools that were defined within the context and are still there at its end."""
        before = set(self._pools)
        try:
            yield
        finally:
            if new := self._pools - before:
                self._pools -= new
                for name in new.intersection(self.virsh("pool-list", "--all", "--name").split()):
                    self._call_virsh("pool-destroy", name)
                    self.virsh("pool-undefine", name)

    def volumes(self, pool: str) -> list[str]:
        """The names of a pool's volumes after a refresh, sorted; without ``.virtlayer``."""
        self.virsh("pool-refresh", pool)
        lines = self.virsh("vol-list", pool).splitlines()[2:]
        names = {line.split()[0] for line in lines if line.strip()}
        return sorted(names - {OWN})

    def close(self) -> None:
        """End libvirtd, everything that it started, and clients that would start it again."""
        # A client of a session starts a libvirtd when it finds none, so there can be new ones.
        while processes := _processes_of(self.directory):
            for pid in processes:
                _end(pid)
        self.kill()

    def _call_virsh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["virsh", "--connect", self.uri, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def _command(self) -> list[str]:
        config = self.directory / "config" / "libvirt"
        libvirtd = ["libvirtd", "--config", str(config / "libvirtd.conf")]
        if self.session:
            return self.as_owner(*libvirtd)
        private = self.directory / "private"
        mounts = "".join(
            f"mkdir -p {path} {private}{path} && mount --bind {private}{path} {path} && "
            for path in _PRIVATE
        )
        script = f'{mounts} cp {config}/*.conf /etc/libvirt/ && {self.preparation}\nexec "$@"'
        pid_file = self.directory / "libvirtd.pid"
        return [
            # What is mounted later shows there only where the machine shares its mounts, as systemd
            # makes it: a test that mounts something takes session_host().
            *("unshare", *self.namespaces, "--propagation", "slave", "--"),
            *("sh", "-c", script, "sh", *libvirtd, "--pid-file", str(pid_file)),
        ]

    def _configure(self) -> None:
        config = self.directory / "config" / "libvirt"
        socket = "" if self.session else f'unix_sock_dir = "{self._socket_directory}"\n'
        (config / "libvirtd.conf").write_text(
            f'{socket}auth_unix_rw = "none"\nauth_unix_ro = "none"\n', encoding="ascii"
        )
        # Without stdio_handler, the first machine starts a virtlogd that outlives libvirtd. libvirt
        # wants QEMU to dump core without limit, which a user may not who came here by sudo.
        group = "" if self.session else _group_of_kvm()
        (config / "qemu.conf").write_text(
            f'stdio_handler = "file"\nmax_core = 0\n{group}', encoding="ascii"
        )

    def _make_directory(self, path: Path, mode: int) -> Path:
        path.mkdir(exist_ok=True)
        path.chmod(mode)
        self.hand_over(path)
        return path

    def hand_over(self, directory: Path) -> None:
        """Give a directory to the user of libvirtd, who can read what root makes in it."""
        if self.owner != os.geteuid():
            os.chown(directory, self.owner, pwd.getpwuid(self.owner).pw_gid)
            directory.chmod(directory.stat().st_mode | stat.S_ISGID)


def _keep_capabilities(found: Path, kept: Path) -> None:
    """Copy what a libvirtd has found out for those that come after."""
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        copy = Path(tempfile.mkdtemp(dir=kept.parent))
        shutil.copytree(found, copy, dirs_exist_ok=True)
        try:
            copy.rename(kept)
        except OSError:  # Another test run was faster.
            shutil.rmtree(copy)


def _group_of_kvm() -> str:
    """The line of qemu.conf that lets a system libvirtd's QEMU use KVM, where there is KVM.

    Where it may not, libvirt 11.3 takes its own knowledge of QEMU for outdated at every look, and
    starts QEMU 30 times, for a minute, to define one domain.
    """
    try:
        group = Path("/dev/kvm").stat().st_gid
    except OSError:
        return ""
    # By its number: it has no name where a container's host gave the device.
    return f'group = "+{group}"\n'


running_hosts: list[LibvirtHost] = []
"""Those of this process."""


@contextlib.contextmanager
def session_host() -> Iterator[LibvirtHost]:
    """A running qemu:///session of an ordinary user."""
    with running_host(lambda directory: LibvirtHost(directory, session=True)) as host:
        yield host


@contextlib.contextmanager
def private_host() -> Iterator[LibvirtHost]:
    """A running libvirtd that makes no difference between its files and the test's.

    That is a system one for root, a session one for everybody else.
    """
    is_root = os.geteuid() == 0
    with running_host(lambda directory: LibvirtHost(directory, session=not is_root)) as host:
        yield host


@contextlib.contextmanager
def running_host[H: LibvirtHost](make: Callable[[Path], H]) -> Iterator[H]:
    """A libvirtd that runs within the context.

    Args:
        make: Makes it, in a directory of its own.
    """
    # The path of a socket has at most 107 bytes, too few for pytest's directories.
    directory = Path(tempfile.mkdtemp(prefix="vl-"))
    directory.chmod(0o755)
    try:
        host = make(directory)
        try:
            host.start()
            running_hosts.append(host)
            yield host
        finally:
            if host in running_hosts:
                running_hosts.remove(host)
            host.close()
    finally:
        logs.keep(directory)
        shutil.rmtree(directory)


def warn_of(abort: str) -> None:
    """Let the summary of the tests say that librbd has aborted a libvirtd, and in which test."""
    with warnings.catch_warnings():
        # The tests' own settings make every warning an error.
        warnings.simplefilter("always")
        warnings.warn(abort, stacklevel=2)


def _crashes() -> str:
    """The kernel's last messages about killed processes, of which only root can read any."""
    messages = subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout
    return "\n".join([line for line in messages.splitlines() if _CRASH.search(line)][-10:])


def _end(pid: int) -> None:
    """Kill a process, and wait until it no longer writes files."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [])
        finally:
            os.close(descriptor)


def _processes_of(directory: Path) -> list[int]:
    """The processes whose environment names the directory: what a libvirtd has started."""
    mark = b"XDG_RUNTIME_DIR=" + os.fsencode(directory / "run") + b"\0"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found
