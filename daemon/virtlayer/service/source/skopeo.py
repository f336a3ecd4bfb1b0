# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opens an image at its source: its manifest, its config, and its blobs as streams.

The reference is opened once, so a tag is resolved once. All later requests use the digest of the
manifest. A config whose text is already known by its digest is not requested.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from virtlayer.errors import (
    DigestMismatch,
    MalformedLayer,
    NoSpace,
    PlatformNotFound,
    RegistryUnavailable,
)
from virtlayer.service.source import docker_archive
from virtlayer.service.source.access import Access
from virtlayer.service.source.command import Skopeo, skopeo_for
from virtlayer.service.source.digest import digest_of, hasher, is_digest
from virtlayer.service.source.image import (
    CONFIG_LIMIT,
    MANIFEST_LIMIT,
    Descriptor,
    Image,
    Index,
    Layer,
    Manifest,
    assemble,
    assemble_artifact,
    is_schema_1,
    parse_config,
    parse_index,
    parse_manifest,
)
from virtlayer.service.source.obtained import Obtained
from virtlayer.service.source.platform import Platform
from virtlayer.service.source.policy import PolicyScope
from virtlayer.service.source.proxies import BlobStream, Proxies
from virtlayer.service.source.proxy import Proxy, ProxyFailed
from virtlayer.service.source.reference import Reference
from virtlayer.service.source.workspace import Workspace
from virtlayer.sizes import human_size

__all__ = ["BlobStream", "OpenImage", "Source", "open_image", "started_source"]

type KnownConfigs = Callable[[str], Awaitable[str | None]]
"""Returns the text of the config with a digest; None if it is not known."""


class OpenImage:
    """One opened image: its metadata and access to its blobs."""

    def __init__(self, image: Image, skopeo: Skopeo, proxies: Proxies) -> None:
        self.image = image
        self._skopeo = skopeo
        self._proxies = proxies

    @property
    def obtained(self) -> Obtained:
        """How the image is obtained, which decides which other users may use its content."""
        return self._skopeo.obtained

    @property
    def policy(self) -> PolicyScope:
        """The requirements of the signature policy that the image met."""
        return self._skopeo.policy

    async def index(self) -> Index:
        """Return the index with all its platforms; without an index, just this image.

        Raises:
            RegistryUnavailable: The tag now refers to another image.
        """
        raw = await self._skopeo.raw_manifest()
        if is_schema_1(raw):
            index = Index(await self._skopeo.manifest_digest(raw), ())
        else:
            index = Index(digest_of(raw), parse_index(raw) or ())
        if self.image.digest not in {index.digest, *(entry.digest for entry in index.entries)}:
            raise RegistryUnavailable(
                f"{self.image.reference} changed while it was read. Try again."
            )
        return index

    async def platforms(self) -> tuple[Platform, ...]:
        """Return the platforms that the reference has images for.

        Raises:
            RegistryUnavailable: The tag now refers to another image.
        """
        entries = (await self.index()).entries
        if not entries and self.image.artifact_type:
            return ()
        return tuple(entry.platform for entry in entries) or (self.image.platform,)

    def blob(self, layer: Layer) -> AbstractAsyncContextManager[BlobStream]:
        """Stream the blob of a layer; wait while the maximum of blobs are streaming.

        Raises:
            VirtlayerError: It cannot be downloaded; the class says why.
        """
        return self._proxies.blob(layer)

    def let_go(self) -> None:
        """Stop the processes without waiting; no further blob is needed."""
        self._proxies.begin_close()


class Source:
    """A source that has received no request yet; created by ``started_source``."""

    def __init__(
        self,
        skopeo: Skopeo,
        platform: Platform | None,
        proxies: Proxies,
        life: contextlib.AsyncExitStack,
    ) -> None:
        self._skopeo = skopeo
        self._platform = platform
        self._proxies = proxies
        self._life = life

    @property
    def obtained(self) -> Obtained:
        """How the image is obtained, which decides which other users may use its content."""
        return self._skopeo.obtained

    async def open(
        self, known: KnownConfigs | None = None, *, artifacts: bool = False
    ) -> OpenImage:
        """Open the image, once.

        Args:
            known: Looks up the config before it is requested from the source.
            artifacts: Whether it may be an artifact, which has no file system.

        Raises:
            VirtlayerError: The image cannot be opened; the class says why.
        """
        reference = self._skopeo.reference
        image = await _image_of(self._proxies, known)
        if image is not None:
            if image.artifact_type and not artifacts:
                raise MalformedLayer(
                    f"{reference} is an artifact ({image.artifact_type}), not an image with a file "
                    "system. If its content is a disk image, use --format=disk."
                )
            _check_platform(image, self._platform)
            if reference.local_path is None:
                self._proxies.open_further(reference.pinned(image.digest))
            return OpenImage(image, self._skopeo, self._proxies)
        await self._proxies.close()
        digest, layout = await _converted(self._skopeo)
        proxies = await self._life.enter_async_context(_proxies_of(layout))
        image = await _image_of(proxies, known)
        if image is None:
            raise MalformedLayer(f"{reference} cannot be converted from Docker's schema 1.")
        _check_platform(image, self._platform)
        image = replace(image, reference=reference, digest=digest)
        return OpenImage(image, self._skopeo, proxies)


@contextlib.asynccontextmanager
async def open_image(
    reference: Reference,
    access: Access,
    platform: Platform | None,
    workspace: Workspace,
    *,
    artifacts: bool = False,
) -> AsyncIterator[OpenImage]:
    """Open an image; its processes are stopped and its temporary files deleted on exit.

    Args:
        reference: The source.
        access: How to reach it.
        platform: Which image of an index. None for this host's platform; an image without an index
            is then accepted for any platform.
        workspace: The directories for skopeo's files.
        artifacts: Whether it may be an artifact, which has no file system.

    Raises:
        VirtlayerError: The image cannot be opened; the class says why.
    """
    async with started_source(reference, access, platform, workspace) as source:
        yield await source.open(artifacts=artifacts)


@contextlib.asynccontextmanager
async def started_source(
    reference: Reference,
    access: Access,
    platform: Platform | None,
    workspace: Workspace,
) -> AsyncIterator[Source]:
    """Start the processes that open an image, without a request to a registry; see ``open_image``.

    Args:
        reference: See ``open_image``.
        access: See ``open_image``.
        platform: See ``open_image``.
        workspace: See ``open_image``.

    Raises:
        InvalidArgument: Files or descriptors of ``access`` are invalid.
    """
    async with (
        skopeo_for(reference, access, platform, workspace) as skopeo,
        contextlib.AsyncExitStack() as life,
    ):
        proxies = await life.enter_async_context(_proxies_of(skopeo))
        proxies.start()
        yield Source(skopeo, platform, proxies, life)


@contextlib.asynccontextmanager
async def _proxies_of(skopeo: Skopeo) -> AsyncIterator[Proxies]:
    proxies = Proxies(skopeo)
    try:
        yield proxies
    finally:
        await proxies.close()


async def _image_of(proxies: Proxies, known: KnownConfigs | None) -> Image | None:
    """Read the manifest and config; None for Docker's schema 1, which the proxy does not send."""
    skopeo = proxies.skopeo
    async with proxies.one() as proxy:
        try:
            async with skopeo.waiting("manifest", skopeo.unpacking(proxy)):
                digest, content = await proxy.manifest(MANIFEST_LIMIT)
        except ProxyFailed as error:
            if "unsupported legacy manifest" in str(error):
                return None
            raise skopeo.failure(str(error)) from error
        if not isinstance(digest, str) or not is_digest(digest):
            raise skopeo.failure("the proxy sent no digest of the manifest")
        if digest_of(content) != digest:
            content = await _original(skopeo, digest)
        with _about(skopeo.reference):
            manifest = parse_manifest(content)
        if manifest.artifact_type:
            if skopeo.target != skopeo.reference:
                _check_layers_of_copy(skopeo, manifest)
            return assemble_artifact(skopeo.reference, digest, manifest)
        text = await known(manifest.config.digest) if known is not None else None
        if text is None or not _has_digest(text.encode(), manifest.config.digest):
            raw = await _config_of(skopeo, proxy, manifest.config)
        else:
            raw = text.encode()
        _check_size(skopeo, raw, manifest.config)
        with _about(skopeo.reference):
            config = parse_config(raw)
        if skopeo.reference.transport == docker_archive.TRANSPORT:
            manifest = await _with_measured_sizes(skopeo, proxy, manifest)
        if skopeo.target != skopeo.reference:
            _check_layers_of_copy(skopeo, manifest)
    with _about(skopeo.reference):
        return assemble(skopeo.reference, digest, manifest, config)


@contextlib.contextmanager
def _about(reference: Reference) -> Iterator[None]:
    """Add the name of the image to errors about its manifest or config."""
    try:
        yield
    except MalformedLayer as error:
        raise MalformedLayer(f"{reference}: {error.message}") from error


async def _original(skopeo: Skopeo, digest: str) -> bytes:
    """Return the original manifest of Docker's schema 2; the proxy converts it and its config."""
    content = await skopeo.raw_manifest(digest)
    if digest_of(content) != digest:
        raise DigestMismatch(
            f"{skopeo.reference} changed while it was read, or is not the image {digest}. "
            "Try again."
        )
    return content


async def _config_of(skopeo: Skopeo, proxy: Proxy, config: Descriptor) -> bytes:
    if config.size > CONFIG_LIMIT:
        raise MalformedLayer(
            f"{skopeo.reference}: the image config is too large: {config.size} bytes."
        )
    try:
        async with skopeo.waiting("image config", skopeo.unpacking(proxy)):
            content = await proxy.small_blob(config.digest, config.size)
    except ProxyFailed as error:
        raise skopeo.failure(f"image config {config.digest}: {error}") from error
    if not _has_digest(content, config.digest):
        raise DigestMismatch(
            f"{skopeo.reference}: the image config does not match its digest. Push the image again."
        )
    return content


def _check_size(skopeo: Skopeo, content: bytes, config: Descriptor) -> None:
    """Refuse a config that matches its digest but not its size."""
    if len(content) != config.size:
        raise DigestMismatch(
            f"{skopeo.reference}: the image config has {len(content)} bytes, but the manifest "
            f"says {config.size}. Push the image again."
        )


async def _with_measured_sizes(skopeo: Skopeo, proxy: Proxy, manifest: Manifest) -> Manifest:
    try:
        async with skopeo.waiting("sizes of layers", skopeo.unpacking(proxy)):
            limit = skopeo.share.limit
            return await docker_archive.with_measured_sizes(proxy, manifest, limit)
    except ProxyFailed as error:
        raise skopeo.failure(f"sizes of layers: {error}") from error


def _check_layers_of_copy(skopeo: Skopeo, manifest: Manifest) -> None:
    """Refuse long layers: in an archive of a few bytes, a sparse file can have any length."""
    size = sum(layer.size for layer in manifest.layers)
    if size > skopeo.share.limit:
        raise NoSpace(
            f"{skopeo.reference}: the layers have {human_size(size)}; the limit for archives is "
            f"{human_size(skopeo.share.limit)} (cache.archives-limit in virtlayerd.toml)."
        )


def _has_digest(content: bytes, digest: str) -> bool:
    hashing = hasher(digest)
    hashing.update(content)
    return f"{hashing.name}:{hashing.hexdigest()}" == digest


async def _converted(skopeo: Skopeo) -> tuple[str, Skopeo]:
    """Convert an image of Docker's schema 1; return its digest, and skopeo for the result."""
    raw = await skopeo.raw_manifest()
    if not is_schema_1(raw):
        raise RegistryUnavailable(f"{skopeo.reference} changed while it was read. Try again.")
    digest = await skopeo.manifest_digest(raw)
    layout = await skopeo.copy_to_layout(digest)
    return digest, replace(skopeo, reference=layout, target=layout, accepted=True)


def _check_platform(image: Image, platform: Platform | None) -> None:
    if image.artifact_type:
        return
    if platform is not None and not platform.admits(image.platform):
        raise PlatformNotFound(
            f"{image.reference} is for {image.platform} only, not for {platform}. "
            'Choose another image, or omit the option "platform".'
        )
