# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which content that this host has a pull may use without downloading it.

Content that was obtained with credentials belongs to the repository that it came from. A pull whose
manifest came from there may use it, because the registry has checked this caller. Any other pull
could only have been told the digests: it has to download the content, which proves that it may have
it. Only a repository that was reached by TLS with the CAs of this host counts: a caller could give
the name of any registry to one of his own. Content of a local source belongs to its caller.

What was once obtained without credentials is everybody's. What the records of a pool say about this
counts in that pool alone: who can write them could give away what is elsewhere
(``catalog.owners``). A session's service has one user, and everything is theirs.
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
    """What one pull may use, and what becomes of what it downloads.

    Args:
        catalog: Knows what belongs to whom.
        obtained: How the image of the pull is obtained.
        uid: The caller of the pull.
        pool: The name of the pool that it pulls into.
        shared: Whether all content is everybody's, as in a session.
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
        """Where the content comes from. Pulls with the same may use the same content, and wait for
        each other's downloads and volumes; a source of others may be as slow as they like."""

    async def may_use(self, digests: Iterable[str]) -> frozenset[str]:
        """Those of the digests of blobs of the cache that the pull may use without a download."""
        return await self._usable(digests, None)

    async def may_use_in_pool(self, digests: Iterable[str]) -> frozenset[str]:
        """Those of the digests whose content the pull may use in its pool without a download."""
        return await self._usable(digests, self._pool)

    async def unproven(self, volumes: Iterable[PlannedVolume]) -> tuple[Layer, ...]:
        """The layers in volumes of a pool that the pull must download before it may use these.

        A volume that was built from another blob is in no plan of a pull that may not use it
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
        """Record whose a blob or config is that the pull has downloaded, and that was right."""
        if self._owner is not None and not self._shared:
            await self._catalog.owners.add(digest, self._owner)

    async def owners(self, digest: str) -> frozenset[Owner]:
        """Whom content belongs to that is, or will be, in the pull's pool."""
        return await self._catalog.owners.of(digest, self._pool)

    async def known_config(self, digest: str) -> str | None:
        """The text of the config that has this digest; None if it is not known, or not for us."""
        if await self.may_use([digest]):
            text = await self._catalog.config(digest)
        elif await self.may_use_in_pool([digest]):
            # From there alone: this pool cannot say who may have what another one has.
            text = await self._catalog.config(digest, self._pool)
        else:
            text = None
        if text is not None:
            self._used.add(digest)
        return text

    async def opened(self, image: Image) -> None:
        """Record whose the config of the image is, if it was downloaded when that was opened."""
        if image.image_id not in self._used:
            await self.downloaded(image.image_id)

    async def _usable(self, digests: Iterable[str], pool: str | None) -> frozenset[str]:
        if self._shared:
            return frozenset(digests)
        owners = {EVERYBODY} if self._origin is None else {EVERYBODY, self._origin}
        return await self._catalog.owners.belonging(digests, owners, pool)


def belonging_of(services: Services, obtained: Obtained, job: Job, pool: str) -> Belonging:
    """The belonging of what a pull uses and downloads.

    Args:
        services: The daemon's parts.
        obtained: How the image is obtained.
        job: The pull.
        pool: The name of the pool that it pulls into.
    """
    return Belonging(services.catalog, obtained, job.started_by, pool, shared=services.session)


def _origin(obtained: Obtained, uid: int) -> Owner | None:
    """As whom a pull uses content; None for no one in particular."""
    if obtained.repository is None:
        return Owner(OwnerKind.USER, str(uid))
    return Owner(OwnerKind.REPOSITORY, obtained.repository) if obtained.verified else None


def _owner(obtained: Obtained, uid: int) -> Owner | None:
    """Whose the content is that a pull downloads; None for nobody's."""
    if obtained.repository is None or obtained.with_credentials:
        return _origin(obtained, uid)
    return EVERYBODY
