# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bytes that a registry sends for an image of which a former version is there.

They are counted in the access log of a registry that nobody else uses meanwhile.
"""

import asyncio
import contextlib
import dataclasses
import gzip
import json
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from isal import isal_zlib
from tests.support.registry import Registry

from bench import places
from bench.commands import run, stopwatch
from bench.inputs import LEVEL, Image
from bench.ours import Ended, Installation, Machine
from bench.peers.podman import OWN, end_podman, podman, podman_tree
from bench.result import Finished
from virtlayer.client.bus.caller import Client

_PARTIAL_PULLS = """
[storage]
driver = "overlay"
[storage.options]
pull_options = {enable_partial_images = "true"}
"""


class CountingRegistry:
    """The images of the benchmark in a registry of its own, which counts what it sends."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def reference(self, image: Image, *, chunked: bool) -> str:
        """Where an image is, or the same with zstd:chunked layers: ``HOST/REPOSITORY:TAG``."""
        repository = f"bench-chunked/{image.name}:1" if chunked else image.repository
        return f"{self._registry.host}/{repository}"

    @contextlib.contextmanager
    def counted(self) -> Iterator[dict[str, float]]:
        """Count the bytes of manifests, configs and blobs that are sent in the context."""
        sent: dict[str, float] = {}
        before = len(self._registry.answered())
        yield sent
        answered = self._registry.answered()[before:]
        sent["bytes"] = sum(request.size for request in answered if request.method == "GET")

    def without_layers(self, image: Image) -> int:
        """The bytes of an image's manifest and config."""
        manifest = self._registry.blob_path(image.digest)
        config = json.loads(manifest.read_text())["config"]
        return manifest.stat().st_size + int(config["size"])

    def blob(self, digest: str) -> Path:
        """The file of a blob."""
        return self._registry.blob_path(digest)

    def compress_chunked(self, *images: Image) -> None:
        """Store images with zstd:chunked layers as well, if they are not there yet."""
        record = places.RECORDS / "chunked"
        digests = "\n".join(image.digest for image in images)
        if record.exists() and record.read_text() == digests:
            return
        with places.scratch("chunked") as layout:
            for image in images:
                # Into a layout first: skopeo would let the registry reuse the gzip layers.
                one = f"oci:{layout}:{image.name}"
                gzip_image = f"docker://{self.reference(image, chunked=False)}"
                compressed = ("--src-tls-verify=false", "--dest-compress-format=zstd:chunked")
                run("skopeo", "copy", *compressed, gzip_image, one)
                as_it_is = ("--dest-tls-verify=false", "--preserve-digests")
                target = f"docker://{self.reference(image, chunked=True)}"
                run("skopeo", "copy", *as_it_is, one, target)
        record.write_text(digests)


@contextlib.contextmanager
def counting_registry() -> Iterator[CountingRegistry]:
    """Run a registry with the images that the benchmark has made."""
    with places.scratch("registry") as directory:
        (directory / "storage").symlink_to(places.REGISTRY / "storage")
        with Registry(directory) as registry:
            yield CountingRegistry(registry)


class Update:
    """virtlayer pulls an image into the pool that has the former one.

    Args:
        machine: Where it runs.
        registry: Counts.
        former: The former image.
        chunked: Whether the layers of both are zstd:chunked.
    """

    def __init__(
        self, machine: Machine, registry: CountingRegistry, former: Image, *, chunked: bool
    ) -> None:
        self._machine = machine
        self._registry = registry
        self._former = former
        self._chunked = chunked

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Pull an image after the former one."""
        former = self._registry.reference(self._former, chunked=self._chunked)
        reference = self._registry.reference(image, chunked=self._chunked)
        with self._machine.installed(directory) as installation:
            _pull(installation, former)
            with self._registry.counted() as sent:
                pull = _pull(installation, reference)
            yield dataclasses.replace(pull.finished(), parts=sent)


class IntoAnotherPool:
    """virtlayer pulls an image that it has pulled into another pool.

    Args:
        machine: Where it runs.
        registry: Counts.
    """

    def __init__(self, machine: Machine, registry: CountingRegistry) -> None:
        self._machine = machine
        self._registry = registry

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Pull an image twice."""
        reference = self._registry.reference(image, chunked=False)
        with self._machine.installed(directory, pools=2) as installation:
            one, other = installation.pools
            _pull(installation, reference, pool=one)
            with self._registry.counted() as sent:
                pull = _pull(installation, reference, pool=other)
            yield dataclasses.replace(pull.finished(), parts=sent)


class PodmanUpdate:
    """``podman pull`` into the store that has the former image.

    It fetches parts of layers whose files it does not have, if they are zstd:chunked. Their
    directories and symlinks have the time of the pull then, and not the image's.

    Args:
        registry: Counts.
        former: The former image.
        chunked: Whether the layers of both are zstd:chunked.
    """

    def __init__(self, registry: CountingRegistry, former: Image, *, chunked: bool) -> None:
        self._registry = registry
        self._former = former
        self._chunked = chunked

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Pull an image after the former one."""
        settings = directory / "storage.conf"
        settings.write_text(_PARTIAL_PULLS)
        former = self._registry.reference(self._former, chunked=self._chunked)
        reference = self._registry.reference(image, chunked=self._chunked)
        pull = ("pull", "--tls-verify=false")
        try:
            podman(directory, *pull, former, settings=settings)
            with self._registry.counted() as sent, stopwatch() as watch:
                podman(directory, *pull, reference, settings=settings)
            with podman_tree(directory, reference) as root:
                ignoring = (*OWN, *_without_time(root)) if self._chunked else OWN
            yield Finished(
                watch.seconds,
                0,
                lambda: podman_tree(directory, reference),
                parts=sent,
                ignoring=ignoring,
            )
        finally:
            end_podman(directory)


class Least:
    """What must be sent: manifest, config, and the new files of new layers.

    The content of files that no layer of the former image has is compressed as the layers are. If
    that is a whole layer, it is less than its blob by the headers of the archive.

    Args:
        registry: Has the images.
        former: The former image.
    """

    title = "least possible"

    def __init__(self, registry: CountingRegistry, former: Image) -> None:
        self._registry = registry
        self._former = former

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Compress what is new."""
        del directory
        compressor = isal_zlib.compressobj(LEVEL)
        size = self._registry.without_layers(image)
        with stopwatch() as watch:
            had = {sha256(content).digest() for content in self._files(self._former)}
            for content in self._files(image):
                if sha256(content).digest() not in had:
                    size += len(compressor.compress(content))
            size += len(compressor.flush())
        yield Finished(watch.seconds, size, None, parts={"bytes": size})

    def _files(self, image: Image) -> Iterator[bytes]:
        for layer in image.layers:
            with (
                gzip.open(self._registry.blob(layer.digest)) as stream,
                tarfile.open(fileobj=stream, mode="r|") as archive,
            ):
                for member in archive:
                    if member.isreg():
                        file = archive.extractfile(member)
                        assert file is not None
                        yield file.read()


def _without_time(root: Path) -> Iterator[bytes]:
    """The directories and symlinks of a tree."""
    for path in root.rglob("*"):
        if path.is_symlink() or path.is_dir():
            yield bytes(path.relative_to(root))


def _pull(installation: Installation, reference: str, *, pool: str | None = None) -> Ended:
    async def pulled() -> Ended:
        async with Client.connected(session=True) as client:
            return await installation.pulled(client, f"docker://{reference}", pool=pool)

    return asyncio.run(pulled())
