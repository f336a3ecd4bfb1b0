# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user who fills an RBD pool with the virtlayer command, and looks at it with Ceph's programs."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.bus_daemon import session_bus
from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.command import Ended, virtlayer
from tests.support.libvirt_host import LibvirtHost
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.volumes import assert_sound, fingerprint
from virtlayer.sizes import MIB

SIZE = 64 * MIB
SETTINGS = f"[storage]\nvirtual-size = {SIZE}\n"


@dataclass(frozen=True, slots=True)
class RbdUser:
    """The pool on one host.

    Attributes:
        ceph: The cluster.
        rbd: The pool in the cluster.
        host: The host's libvirtd.
        daemon: The host's virtlayerd.
        pool: The name of the pool in libvirt.
    """

    ceph: OneNodeCeph
    rbd: CephPool
    host: LibvirtHost
    daemon: Daemon
    pool: str

    async def run(self, *arguments: str) -> Any:
        """Run a command of virtlayer that works; return its JSON."""
        ended = await virtlayer("--user", "--json", *arguments, env=self.daemon.environment)
        assert ended.status == 0, ended.stderr
        return json.loads(ended.stdout)

    async def tell(self, *arguments: str) -> str:
        """Run a command of virtlayer that works; return what it prints for people."""
        ended = await virtlayer("--user", *arguments, env=self.daemon.environment)
        assert ended.status == 0, ended.stderr
        return ended.stdout

    async def fail(self, *arguments: str) -> Ended:
        """Run a command of virtlayer that does not work."""
        ended = await virtlayer("--user", *arguments, env=self.daemon.environment)
        assert ended.status != 0, ended.stdout
        return ended

    async def pull(self, source: str, *arguments: str, name: str = "demo") -> Any:
        """Pull an image; return the result."""
        options = ("--tls-verify=false", f"--name={name}", *arguments)
        return await self.run("pull", source, self.pool, *options)

    @property
    def images(self) -> list[str]:
        """The names of all RBD images, sorted."""
        return self.ceph.images(self.rbd.name)

    def info(self, image: str) -> Any:
        """What rbd(8) says about an image."""
        return self._json("info", self._path(image))

    def parents(self, image: str) -> list[str]:
        """The images that an image is a clone of, directly and indirectly, the nearest first."""
        found: list[str] = []
        while (parent := self.info(image).get("parent")) is not None:
            assert parent["pool"] == self.rbd.name
            image = parent["image"]
            found.append(image)
        return found

    def used(self, image: str) -> int:
        """The bytes that an image takes itself."""
        [found] = [
            one for one in self._json("du", self._path(image))["images"] if "snapshot" not in one
        ]
        return int(found["used_size"])

    def unfinished(self) -> list[str]:
        """The names of images that have no name of their own yet."""
        return [name for name in self.images if name.startswith("virtlayer-unfinished-")]

    def fingerprint(self, image: str, work: Path) -> str:
        """sha256 of everything that a guest could read from an image, whose file system is sound.

        Args:
            image: Its name.
            work: A directory for a raw file.
        """
        with self.exported(image, work) as raw:
            return fingerprint(raw)

    @contextlib.contextmanager
    def exported(self, image: str, work: Path) -> Iterator[Path]:
        """A raw file with what a guest could read from an image; its file system is sound."""
        raw = work / f"{image}.raw"
        self.ceph.rbd("export", "--no-progress", self._path(image), str(raw))
        try:
            assert_sound(raw)
            yield raw
        finally:
            raw.unlink()

    def _path(self, image: str) -> str:
        return f"{self.rbd.name}/{image}"

    def _json(self, *arguments: str) -> Any:
        return json.loads(self.ceph.rbd("--format=json", *arguments))


@contextlib.contextmanager
def rbd_daemon(host: LibvirtHost, directory: Path) -> Iterator[Daemon]:
    """Run a virtlayerd for RBD pools.

    Args:
        host: Its libvirtd.
        directory: For what it writes.
    """
    for name in ("bus", "home"):
        (directory / name).mkdir()
    with (
        session_bus(directory / "bus") as bus,
        virtlayerd(host, bus, directory / "home", settings=SETTINGS) as daemon,
    ):
        yield daemon


def rbd_user(ceph: OneNodeCeph, rbd: CephPool, host: LibvirtHost, daemon: Daemon) -> RbdUser:
    """The user of a pool on a host, where it becomes a pool of libvirt."""
    rbd.define_in(host, "rbd")
    return RbdUser(ceph, rbd, host, daemon, "rbd")
