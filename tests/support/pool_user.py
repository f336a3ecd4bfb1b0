# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user who fills a pool with the virtlayer command, and uses its volumes with other programs."""

import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.command import Ended, virtlayer
from tests.support.images import Content, LayerContent, directory, file, image, layer
from tests.support.libvirt_host import LibvirtHost
from tests.support.registry import Registry
from tests.support.virtlayerd import Daemon

_numbers = itertools.count(1)

DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
"""


def some_layers(*words: str) -> list[LayerContent]:
    """A layer for each word: the same words first make the same volumes first."""
    return [layer(directory("d"), file(f"d/{word}", f"{word}\n".encode() * 100)) for word in words]


def some_image(*words: str, **options: Any) -> Content:
    """An image of ``some_layers``."""
    return image(some_layers(*words), **options)


@dataclass(frozen=True, slots=True)
class PoolUser:
    """The pool, and what is needed to use it.

    Attributes:
        daemon: The virtlayerd.
        registry: Where images come from.
        host: The libvirtd.
        pool: The name of the pool.
    """

    daemon: Daemon
    registry: Registry
    host: LibvirtHost
    pool: str

    @property
    def path(self) -> Path:
        """The pool's directory."""
        return self.host.pool_directory(self.pool)

    @property
    def volumes(self) -> list[str]:
        """The names of the pool's volumes."""
        return self.host.volumes(self.pool)

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

    async def pull(self, content: Content, name: str) -> list[str]:
        """Store an image in the registry and pull it; return its volumes, base first."""
        source = self.registry.store(content, f"{name}:1")
        pull = ("pull", source, self.pool, "--tls-verify=false", f"--name={name}")
        volumes: list[str] = (await self.run(*pull))["volumes"]
        return volumes

    def overlay(self, path: Path, backing: Path) -> Path:
        """Make an overlay without libvirt."""
        qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(backing), str(path))
        return path

    @contextmanager
    def domain(self, disk: Path) -> Iterator[str]:
        """A domain that has the disk, and does not run; its name."""
        name = f"domain-{next(_numbers)}"
        description = self.host.directory / f"{name}.xml"
        description.write_text(DOMAIN.format(name=name, disk=disk))
        self.host.virsh("define", str(description))
        yield name
        self.host.virsh("undefine", name, "--snapshots-metadata", "--checkpoints-metadata")


def qemu_img(*arguments: str) -> str:
    """Run qemu-img; return what it prints."""
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def pool_user(daemon: Daemon, registry: Registry, host: LibvirtHost) -> Iterator[PoolUser]:
    """The user of a new pool."""
    name = f"used-{next(_numbers)}"
    host.start_pool(name)
    yield PoolUser(daemon, registry, host, name)
    host.stop_pool(name)
