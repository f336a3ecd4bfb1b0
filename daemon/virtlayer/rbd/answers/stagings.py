# SPDX-License-Identifier: LGPL-2.1-or-later
"""The staging places of a connection, and the servers of images in them, by their numbers."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from virtlayer.cancellation import settled
from virtlayer.errors import Internal, NoSpace, VirtlayerError
from virtlayer.programs import RunningProgram
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.rbd_names import unfinished_name
from virtlayer.rbd.claims import Claim
from virtlayer.rbd.cluster import Cluster
from virtlayer.rbd.health import first_failure
from virtlayer.rbd.removal import remove_unfinished

_log = logging.getLogger(__name__)

STAGINGS_LIMIT = 64
IMAGES_LIMIT = 256
"""Unfinished images of a staging place."""
SERVERS_LIMIT = 64
_END_SECONDS = 5.0
"""How long a server may take to close its image. One that is killed leaves a watcher, which keeps
the image from being removed for 30 s."""


@dataclass(slots=True)
class StagedImage:
    """An unfinished image.

    Attributes:
        name: Its name in the pool.
        was_served: Whether a server had it open for writing.
        is_flushed: Whether it is finished, and nobody may write to it any more.
        digest: The SHA-256 digest of a kernel or initrd; None for any other image.
        naming: Held while it is renamed, and while a clone of it is made: both find it by its name.
    """

    name: str
    was_served: bool = False
    is_flushed: bool = False
    digest: str | None = None
    naming: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Staging:
    """A staging place.

    Attributes:
        number: Its number.
        claim_number: The number of its claim.
        claim: Its claim.
        purpose: What is made there.
        images: Its unfinished images, by their short names.
        placed: Those that have got their names, of which clones can still be made.
        working: The requests that use it.
        is_closed: Whether no further request may use it.
    """

    number: int
    claim_number: int
    claim: Claim
    purpose: Purpose
    images: dict[str, StagedImage] = field(default_factory=dict)
    placed: dict[str, StagedImage] = field(default_factory=dict)
    working: set[asyncio.Task[object]] = field(default_factory=set)
    is_closed: bool = False

    def image(self, file: str) -> StagedImage:
        """An unfinished image by its short name.

        Raises:
            Internal: There is none.
        """
        try:
            return self.images[file]
        except KeyError:
            raise Internal(f'The staging place has no image "{file}".') from None

    def add(self, file: str) -> StagedImage:
        """Add an image, which is made next.

        Raises:
            Internal: There is one of that name, or there are too many.
        """
        known = self.images.keys() | self.placed.keys()
        if file in known or len(known) >= IMAGES_LIMIT:
            raise Internal(f'The staging place has an image "{file}", or too many images.')
        # A claim can have several staging places with images of the same short name.
        name = unfinished_name(self.claim.name, f"{self.number}-{file}")
        image = self.images[file] = StagedImage(name)
        return image


@dataclass(slots=True)
class Server:
    """A server of an image; ``life`` kills and reaps it."""

    running: RunningProgram
    life: AsyncExitStack
    staging: int
    image: str
    writable: bool
    failure: VirtlayerError | None = None
    ending: asyncio.Task[None] | None = None


class Stagings:
    """Staging places and servers.

    Args:
        cluster: The open pool.
        numbers: Gives a number to each.
    """

    def __init__(self, cluster: Cluster, numbers: Iterator[int]) -> None:
        self.can_delete = False
        """Whether images can be deleted when the pool is full."""
        self._cluster = cluster
        self._numbers = numbers
        self._stagings: dict[int, Staging] = {}
        self._servers: dict[int, Server] = {}
        self._starting: list[tuple[str, bool]] = []
        """Servers that are being started: their images, and whether they are writable."""
        self._watching: asyncio.Task[None] | None = None

    def __contains__(self, number: int) -> bool:
        return number in self._stagings

    def add(self, claim_number: int, claim: Claim, purpose: Purpose) -> int:
        """Make a staging place; its number.

        Raises:
            Internal: There are too many.
        """
        if len(self._stagings) >= STAGINGS_LIMIT:
            raise Internal(f"The limit of {STAGINGS_LIMIT} staging places is reached.")
        number = next(self._numbers)
        self._stagings[number] = Staging(number, claim_number, claim, purpose)
        return number

    @contextlib.contextmanager
    def using(self, number: int) -> Iterator[Staging]:
        """Use a staging place within the context: it is not removed meanwhile.

        The request is cancelled if the place is to be removed.

        Raises:
            Internal: There is none of that number.
        """
        staging = self._stagings.get(number)
        if staging is None or staging.is_closed:
            raise Internal(f"No staging place {number} on this connection to virtlayer-rbd.")
        request = asyncio.current_task()
        assert request is not None, "requests are answered in tasks"
        staging.working.add(request)
        try:
            yield staging
        finally:
            staging.working.discard(request)

    @contextlib.contextmanager
    def starting_server(self, image: str, *, writable: bool) -> Iterator[None]:
        """Start a server within the context, if there is room for one more.

        Args:
            image: The name of the image in the pool.
            writable: Whether clients may write to it: then it cannot be finished meanwhile.

        Raises:
            Internal: There are too many.
        """
        if len(self._servers) + len(self._starting) >= SERVERS_LIMIT:
            raise Internal(f"The limit of {SERVERS_LIMIT} servers of images is reached.")
        starting = image, writable
        self._starting.append(starting)
        try:
            yield
        finally:
            self._starting.remove(starting)

    def add_server(self, server: Server) -> int:
        """Take over a server; its number."""
        number = next(self._numbers)
        self._servers[number] = server
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="health of the cluster")
        return number

    def server(self, number: int) -> Server:
        """A server by its number.

        Raises:
            Internal: There is none.
        """
        try:
            return self._servers[number]
        except KeyError:
            raise Internal(f"No server {number} on this connection to virtlayer-rbd.") from None

    def is_written(self, image: str) -> bool:
        """Whether a server lets clients write to an image, or will do so soon."""
        return (image, True) in self._starting or any(
            server.image == image and server.writable and server.running.returncode is None
            for server in self._servers.values()
        )

    async def end_server(self, number: int) -> None:
        """End a server, and remove it from the connection."""
        server = self.server(number)
        if server.ending is None:
            server.ending = asyncio.create_task(_end(server), name=f"end server {number}")
        await asyncio.shield(server.ending)
        self._servers.pop(number, None)

    async def remove(self, number: int) -> None:
        """Remove a staging place with its servers and images."""
        staging = self._stagings.pop(number)
        staging.is_closed = True
        for request in tuple(staging.working):
            request.cancel()
            await settled(request)
        serving = [key for key, one in self._servers.items() if one.staging == number]
        await asyncio.gather(*(self.end_server(key) for key in serving))
        # An image may be the parent of those that were made after it.
        for image in reversed(staging.images.values()):
            try:
                await self._cluster.run(remove_unfinished, self._cluster.images, image.name)
            except VirtlayerError as error:
                _log.warning("An unfinished image remains until it is swept: %s", error)
                break

    async def vacate(self, claim: int) -> None:
        """Remove the staging places of a claim."""
        numbers = [key for key, one in self._stagings.items() if one.claim_number == claim]
        await asyncio.gather(*(self.remove(number) for number in numbers))

    async def close(self) -> None:
        """Remove everything."""
        await asyncio.gather(*(self.remove(number) for number in tuple(self._stagings)))
        if self._watching is not None:
            self._watching.cancel()
            await settled(self._watching)

    def _running(self) -> list[Server]:
        return [one for one in self._servers.values() if one.running.returncode is None]

    async def _watch(self) -> None:
        """End the servers if the cluster would let their requests wait for ever."""
        failure = await first_failure(self._cluster, lambda: bool(self._running()))
        self._watching = None
        if failure is None:
            return
        failed = self._running()
        if isinstance(failure, NoSpace):
            failed = [one for one in failed if one.writable]
        for server in failed:
            server.failure = failure
        await asyncio.gather(*(one.running.kill() for one in failed))


async def _end(server: Server) -> None:
    server.running.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await server.running.wait()
    await server.life.aclose()
