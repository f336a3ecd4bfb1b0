# SPDX-License-Identifier: LGPL-2.1-or-later
"""A fleet: hosts with the files of the example, a registry, and a pull-through mirror of it.

::

    with fleet(directory, "a", "b", "c") as running:
        running.configure("images", content)
        counting = Counting(running.registry)
        await running.populate()
        assert counting.traffic().manifests == 3
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.support.command import virtlayer
from tests.support.images import Content, file, image, layer
from tests.support.namespace_host import NamespaceHost, hosts
from tests.support.registry import Registry, Request

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "fleet"
"""The files of the example."""
_REGISTRY, _MIRROR = "registry.example", "mirror.example:5000"
"""Names in these files."""
_TLS_LINES = 3
"""How many lines of the mirror's configuration are about TLS, which it has not here."""
LAYERS = 3
"""Of an image."""
FURTHER = LAYERS - 1
"""How many further connections a host opens at most while it downloads an image."""
_QUIET = 0.6
"""Seconds without a new request after which a registry has had all of them."""


class Mirror(Registry):
    """A pull-through mirror, as the example configures it, but without TLS.

    Args:
        directory: For the storage, the configuration and the log.
        registry: The registry, without TLS.
    """

    def __init__(self, directory: Path, registry: Registry) -> None:
        super().__init__(directory)
        self._registry = registry

    def configuration(self, port: int) -> str:
        """See the base class."""
        lines = _text("mirror.yml").splitlines()
        tls = lines.index("  tls:")
        del lines[tls : tls + _TLS_LINES]
        replaced = {
            "/var/lib/docker-registry": str(self.storage),
            "addr: :5000": f"addr: 127.0.0.1:{port}",
            f"https://{_REGISTRY}": f"http://{self._registry.host}",
        }
        text = "\n".join(lines)
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        return text


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a registry was asked for.

    Attributes:
        looks: Requests by HEAD, whose answers have no body.
        manifests: Manifests that it sent for a tag.
        blobs: Blobs that it sent: configs and layers.
        size: Bytes of these manifests and blobs.
        further: Manifests that it sent for a digest. A host asks for one on each further
            connection, which it opens if it has waited for a layer while another one is sent. So
            their number depends on the load, and is not compared.
    """

    looks: int
    manifests: int
    blobs: int
    size: int
    further: int = field(default=0, compare=False)

    @classmethod
    def of(cls, requests: Sequence[Request]) -> Self:
        """The sums of these requests."""
        sent = [request for request in requests if request.method == "GET"]
        further = [request for request in sent if "/manifests/sha256:" in request.path]
        first = [request for request in sent if request not in further]
        return cls(
            looks=sum(request.method == "HEAD" for request in requests),
            manifests=sum("/manifests/" in request.path for request in first),
            blobs=sum("/blobs/" in request.path for request in first),
            size=sum(request.size for request in first),
            further=len(further),
        )


class Counting:
    """Counts what a registry is asked for, from now on.

    Args:
        registry: The registry.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._before = 0
        self._before = len(self._settled())

    def traffic(self) -> Traffic:
        """All requests since then."""
        return Traffic.of(self._settled())

    def _settled(self) -> list[Request]:
        """All requests, as soon as no more arrive: a mirror can send some after a job's end."""
        found = self._requests()
        until = time.monotonic() + _QUIET
        while time.monotonic() < until:
            time.sleep(_QUIET / 10)
            if len(now := self._requests()) > len(found):
                found, until = now, time.monotonic() + _QUIET
        return found

    def _requests(self) -> list[Request]:
        return self._registry.answered()[self._before :]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts, and where their images come from.

    Attributes:
        hosts: Each with its virtlayerd.
        registry: What the example calls registry.example.
        mirror: What it calls mirror.example.
    """

    hosts: tuple[NamespaceHost, ...]
    registry: Registry
    mirror: Mirror

    def configure(self, pool: str, content: Content, *, mirrored: bool = False) -> None:
        """Let each host populate a pool with an image, and with no other.

        Args:
            pool: The pool's name on the hosts.
            content: The image, which gets the tag of the example.
            mirrored: Whether the hosts have the mirror of the example.
        """
        image = _text("debian.toml").replace('pool = "images"', f'pool = "{pool}"')
        self.registry.store(content, "base/debian:13")
        for host in self.hosts:
            home = host.daemon_directory
            # The user's /etc/containers/registries.conf.d and /etc/virtlayer/images.d.
            _write(
                home / ".config/containers/registries.conf.d/fleet.conf",
                self._with_addresses(_text("registries.conf")) if mirrored else "",
            )
            _write(
                home / "config/virtlayer/images.d/debian.toml",
                self._with_addresses(image) + "tls-verify = false\n",
            )

    async def populate(self) -> list[dict[str, Any]]:
        """Let one host after the other populate; return what each says of the image."""
        return [await self.populate_on(host) for host in self.hosts]

    async def populate_at_once(self) -> list[dict[str, Any]]:
        """Let all hosts populate at the same time; return what each says of the image."""
        return await asyncio.gather(*map(self.populate_on, self.hosts))

    async def populate_on(self, host: NamespaceHost) -> dict[str, Any]:
        """Let one host populate; return what it says of the image."""
        ended = await virtlayer("--user", "--json", "populate", env=host.daemon.environment)
        assert ended.status == 0, f"{ended.stderr}\n{host.daemon_log}"
        [image] = json.loads(ended.stdout)["images"]
        assert isinstance(image, dict)
        return image

    def _with_addresses(self, text: str) -> str:
        for name, host in ((_REGISTRY, self.registry.host), (_MIRROR, self.mirror.host)):
            location = f'location = "{name}"'
            text = text.replace(location, f'location = "{host}"\ninsecure = true')
            text = text.replace(name, host)
        return text


def some_image() -> Content:
    """An image that no registry and no pool has."""
    return image([layer(file(f"{number}", os.urandom(100_000))) for number in range(LAYERS)])


@contextlib.contextmanager
def fleet(directory: Path, *names: str) -> Iterator[Fleet]:
    """Hosts that run, with a registry and its mirror.

    Args:
        directory: For what the registries store.
        names: The host names.
    """
    with (
        Registry(directory / "registry") as registry,
        Mirror(directory / "mirror", registry) as mirror,
        hosts(*names, settings=_text("virtlayerd.toml")) as running,
    ):
        yield Fleet(running, registry, mirror)


def _text(name: str) -> str:
    return (EXAMPLE / name).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
