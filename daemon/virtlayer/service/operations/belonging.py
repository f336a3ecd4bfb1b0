# SPDX-License-Identifier: LGPL-2.1-or-later
"""Decides which content of this host a pull may use without downloading it.

Content that was obtained with credentials belongs to the repository that it came from. A pull whose
manifest came from there may use it, because the registry has checked this caller. Any other pull
may know the digests only: it has to download the content, which proves that it has access. Only a
repository that was reached by TLS with the CAs of this host counts: otherwise a caller could run a
server under the name of any registry. Content of a local source belongs to its caller.

Content that was once obtained without credentials belongs to everybody. The owners in the records
of a pool count in that pool only: otherwise a user who can write these records could give access to
content elsewhere (``catalog.owners``). The service of a session has one user, who owns all content.
"""

from collections.abc import Iterable

from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.chain.plan import PlannedVolume
from virtlayer.service.jobs.job import Job
from virtlayer.service.operations.services import Services
from virtlayer.service.records.owners import EVERYBODY, Owner, OwnerKind
from virtlayer.service.source.image import Image, Layer
from virtlayer.service.source.obtained import Obtained


class Belonging:
    """The content that one pull may use, and the owners of the content that it downloads.

    Args:
        catalog: Has the owners of content.
        obtained: How the image of the pull is obtained.
        uid: The caller of the pull.
        pool: The name of the pool that it pulls into.
        shared: Whether all content belongs to everybody, as in a session.
    """

    def __init__(
        self, catalog: Catalog, obtained: Obtained, uid: int, pool: str, *, shared: bool
    ) -> None:
        self._catalog = catalog
        self._pool = pool
        self._shared = shared
        self._origin = _origin(obtained, uid)
        self._owner = _owner(obtained, uid)
        self._used: set[str] = set()
        self.source = "" if shared else obtained.repository or f"uid:{uid}"
        """Where the content comes from. Pulls with the same source may use the same content, and
        wait for each other's downloads and volumes. They do not wait for other sources, which may
        be slow."""

    async def may_use(self, digests: Iterable[str]) -> frozenset[str]:
        """Return the digests of cached blobs that the pull may use without a download."""
        return await self._usable(digests, None)

    async def may_use_in_pool(self, digests: Iterable[str]) -> frozenset[str]:
        """Return the digests whose content the pull may use in its pool without a download."""
        return await self._usable(digests, self._pool)

    async def unproven(self, volumes: Iterable[PlannedVolume]) -> tuple[Layer, ...]:
        """Return the layers that the pull must download before it may use their volumes.

        The plan of a pull never has a volume of another blob that the pull may not use
        (``sharing``).
        """
        layers = {
            layer.digest: layer
            for volume in volumes
            for layer, blob in zip(volume.layers, volume.blobs, strict=True)
            if layer.digest == blob
        }
        usable = await self.may_use_in_pool(layers)
        return tuple(layer for digest, layer in layers.items() if digest not in usable)

    async def downloaded(self, digest: str) -> None:
        """Record the owner of a blob or config that the pull has downloaded and verified."""
        if self._owner is not None and not self._shared:
            await self._catalog.owners.add(digest, self._owner)

    async def owners(self, digest: str) -> frozenset[Owner]:
        """Return the owners of content that is, or will be, in the pull's pool."""
        return await self._catalog.owners.of(digest, self._pool)

    async def known_config(self, digest: str) -> str | None:
        """Return the config with this digest; None if unknown or not allowed for the pull."""
        if await self.may_use([digest]):
            text = await self._catalog.config(digest)
        elif await self.may_use_in_pool([digest]):
            # From that pool only: its records do not count for the content of other pools.
            text = await self._catalog.config(digest, self._pool)
        else:
            text = None
        if text is not None:
            self._used.add(digest)
        return text

    async def opened(self, image: Image) -> None:
        """Record the owner of the image's config, if opening the image has downloaded it."""
        if image.image_id not in self._used:
            await self.downloaded(image.image_id)

    async def _usable(self, digests: Iterable[str], pool: str | None) -> frozenset[str]:
        if self._shared:
            return frozenset(digests)
        owners = {EVERYBODY} if self._origin is None else {EVERYBODY, self._origin}
        return await self._catalog.owners.belonging(digests, owners, pool)


def belonging_of(services: Services, obtained: Obtained, job: Job, pool: str) -> Belonging:
    """Make the belonging of a pull.

    Args:
        services: The daemon's parts.
        obtained: How the image is obtained.
        job: The pull.
        pool: The name of the pool that it pulls into.
    """
    return Belonging(services.catalog, obtained, job.started_by, pool, shared=services.session)


def _origin(obtained: Obtained, uid: int) -> Owner | None:
    """Return the owner as whom a pull uses content; None for none."""
    if obtained.repository is None:
        return Owner(OwnerKind.USER, str(uid))
    return Owner(OwnerKind.REPOSITORY, obtained.repository) if obtained.verified else None


def _owner(obtained: Obtained, uid: int) -> Owner | None:
    """Return the owner of content that a pull downloads; None for none."""
    if obtained.repository is None or obtained.with_credentials:
        return _origin(obtained, uid)
    return EVERYBODY
