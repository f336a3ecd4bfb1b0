# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirtd whose machines virtlayer makes: the keeper sees the same files as libvirtd.

::

    with machine_host() as host:
        with raw_keeper(host.uri, inside=host.as_owner()) as keeper: ...
        with virtlayerd(host, bus, directory) as daemon: ...

For root, libvirtd has directories of its own in a mount namespace. The processes that
``host.as_owner`` starts are in it, too: log files have the same paths. There is no /dev/kvm there,
unless a test wants it. For another user, it is an ordinary session.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.libvirt_host import LibvirtHost, running_host
from tests.support.waiting import PATIENCE

# libvirt 11.3 starts no container where both versions of cgroups are mounted.
_WITHOUT_BOTH_CGROUPS = """
if mountpoint -q /sys/fs/cgroup/unified; then umount -l /sys/fs/cgroup/unified; fi
"""

# What libvirt reads of its network devices is in a sysfs of their network namespace.
_OWN_NETWORK = """
busybox ip link set lo up
mkdir -p "$1" && mount -t sysfs sysfs "$1"
mount --rbind /sys/fs/cgroup "$1/fs/cgroup" && mount --rbind "$1" /sys
"""


class MachineHost(LibvirtHost):
    """A system libvirtd for root.

    Args:
        directory: Everything of it is below this.
        kvm: Whether it sees /dev/kvm.
        virtlogd: Whether a virtlogd of its own writes the logs of machines, and rotates them.
        network: Whether it has network devices of its own, without a way to others.
    """

    def __init__(self, directory: Path, *, kvm: bool, virtlogd: bool, network: bool) -> None:
        self._network = network
        self._virtlogd = virtlogd
        self._logger: subprocess.Popen[bytes] | None = None
        super().__init__(directory, session=False, kvm=kvm)

    def as_owner(self, *argv: str) -> list[str]:
        """The command line that runs a program among the files of libvirtd."""
        return ["nsenter", f"--target={self.pid}", *self.namespaces, "--wd=/", "--", *argv]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """It can have a network of its own."""
        return ("--mount", "--net") if self._network else ("--mount",)

    @property
    def preparation(self) -> str:
        """What is run in the namespaces before libvirtd."""
        script = f"set -e; {_WITHOUT_BOTH_CGROUPS}"
        if self._network:
            script += f'set -- {self.directory}/sys "$@"; {_OWN_NETWORK} shift\n'
        return script + super().preparation

    @property
    def logs(self) -> Path:
        """Where the log files of its machines are."""
        return self.directory / "private/var/log/libvirt/qemu"

    def start(self) -> None:
        """Start libvirtd, and virtlogd if there is to be one."""
        if self._virtlogd:
            config = self.directory / "config" / "libvirt" / "qemu.conf"
            text = config.read_text(encoding="ascii")
            config.write_text(text.replace('"file"', '"logd"'), encoding="ascii")
        super().start()
        if self._virtlogd:
            self._start_virtlogd()

    def kill(self) -> None:
        """End libvirtd as a crash would, and virtlogd."""
        if self._logger is not None:
            self._logger.kill()
            self._logger.wait()
            self._logger = None
        super().kill()

    def _start_virtlogd(self) -> None:
        self._logger = subprocess.Popen(
            self.as_owner("virtlogd", "--pid-file", "/run/libvirt/virtlogd.pid"),
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while not (self.directory / "private/run/libvirt/virtlogd-sock").exists():
            assert self._logger.poll() is None, "virtlogd does not start"
            assert time.monotonic() < deadline, "virtlogd does not listen"
            time.sleep(0.02)


@contextlib.contextmanager
def machine_host(
    *, kvm: bool = False, virtlogd: bool = False, network: bool = False
) -> Iterator[LibvirtHost]:
    """A running libvirtd whose machines have their logs where the keeper finds them.

    Args:
        kvm: Whether a system libvirtd sees /dev/kvm.
        virtlogd: Whether a virtlogd writes the logs of a system libvirtd, and rotates them; by
            default QEMU does.
        network: Whether a system libvirtd has network devices of its own.
    """
    if os.geteuid() != 0:
        make = _session
    else:

        def make(directory: Path) -> LibvirtHost:
            return MachineHost(directory, kvm=kvm, virtlogd=virtlogd, network=network)

    with running_host(make) as host:
        yield host


def _session(directory: Path) -> LibvirtHost:
    return LibvirtHost(directory, session=True)
