# SPDX-License-Identifier: LGPL-2.1-or-later
"""Objects of one connection of the service, which are valid there only and end with it."""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from virtlayer.cancellation import settled
from virtlayer.errors import Internal
from virtlayer.keeper.kinds.kind import Claim, Lock, Workplace
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.programs import StartedProgram
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Usage

CLAIMS_LIMIT = 256
"""Claims and locks together."""
STAGINGS_LIMIT = 64
PROGRAMS_LIMIT = 256
OURS_SECONDS = 300.0
"""How long a new volume can be withdrawn: libvirt may take so long to find it."""


@dataclass(slots=True)
class Staging:
    """A staging directory of a connection.

    Attributes:
        pool: Its pool.
        claim: The number of the claim that it belongs to.
        purpose: What is made there.
        place: The directory.
        life: Removes it.
        programs: The numbers of the programs that work in it.
        starting: The requests that are starting further ones.
        is_closed: Whether no further program may be started in it.
    """

    pool: Pool
    claim: int
    purpose: Purpose
    place: Workplace
    life: AsyncExitStack
    programs: set[int] = field(default_factory=set)
    starting: set[asyncio.Task[object]] = field(default_factory=set)
    is_closed: bool = False


@dataclass(slots=True)
class Program:
    """A program of a connection; ``life`` kills and reaps it, which ``ending`` waits for."""

    running: StartedProgram
    life: AsyncExitStack
    ending: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Survey:
    """The users of the volumes of a pool, and when they were determined (by the loop's clock).

    Attributes:
        usage: The users.
        at: When the search began.
        placements: How many volumes had been placed by then (``Pools.placements``).
    """

    usage: Usage
    at: float
    placements: int


@dataclass(frozen=True, slots=True)
class _PlacedHere:
    """What was placed, for which claim, and when (by the loop's clock)."""

    placed: Placed
    claim: str
    at: float


class Holdings:
    """Claims, staging directories, programs, placed files and surveys of one connection."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self._placed: dict[tuple[str, str], _PlacedHere] = {}
        self.surveys: dict[str, Survey] = {}
        self._claims: dict[int, Claim] = {}
        self._locks: dict[int, Lock] = {}
        self._stagings: dict[int, Staging] = {}
        self._programs: dict[int, Program] = {}
        self._claiming = 0
        self._making = 0
        self._starting = 0
        self._numbers = itertools.count(1)

    def claim(self, number: int, pool: Pool) -> Claim:
        """A claim in a pool by its number.

        Raises:
            Internal: There is none on this connection, or it is one in another pool.
        """
        claim = self._claims.get(number)
        if claim is None or claim.pool.uuid != pool.uuid:
            raise _unknown("claim in that pool", number)
        return claim

    def lock(self, number: int, pool: Pool) -> Lock:
        """The lock of a pool by its number.

        Raises:
            Internal: There is none on this connection, or it is the lock of another pool.
        """
        lock = self._locks.get(number)
        if lock is None or lock.pool.uuid != pool.uuid:
            raise _unknown("lock of that pool", number)
        return lock

    def has_lock(self, number: int) -> bool:
        """Whether a number is that of a lock."""
        return number in self._locks

    @contextlib.contextmanager
    def claiming(self) -> Iterator[None]:
        """Make a claim or take a lock within the context, if there is room for one more.

        Raises:
            Internal: There are too many.
        """
        if len(self._claims) + len(self._locks) + self._claiming >= CLAIMS_LIMIT:
            raise Internal(f"The limit of {CLAIMS_LIMIT} claims is reached.")
        self._claiming += 1
        try:
            yield
        finally:
            self._claiming -= 1

    def add_claim(self, claim: Claim) -> int:
        """Take over a claim; its number."""
        number = next(self._numbers)
        self._claims[number] = claim
        return number

    def add_lock(self, lock: Lock) -> int:
        """Take over the lock of a pool; its number."""
        number = next(self._numbers)
        self._locks[number] = lock
        return number

    async def release(self, number: int, *, failed: bool) -> None:
        """End a claim with its staging directories, a lock, or a staging directory alone.

        Args:
            number: Its number.
            failed: Whether the job failed: libvirt is asked to look at what it had finished.

        Raises:
            Internal: There is none of that number on this connection.
        """
        if number in self._stagings:
            await self._discard(number, failed=failed)
        elif number in self._locks:
            await self._locks.pop(number).release()
        elif number in self._claims:
            claim = self._claims.pop(number)
            for staging in [key for key, one in self._stagings.items() if one.claim == number]:
                await self._discard(staging, failed=failed)
            await claim.end()
        else:
            raise _unknown("claim, lock or staging directory", number)

    def staging(self, number: int) -> Staging:
        """A staging directory by its number.

        Raises:
            Internal: There is none on this connection.
        """
        try:
            return self._stagings[number]
        except KeyError:
            raise _unknown("staging directory", number) from None

    def program(self, number: int) -> Program:
        """A program by its number.

        Raises:
            Internal: There is none on this connection.
        """
        try:
            return self._programs[number]
        except KeyError:
            raise _unknown("program", number) from None

    def add_placed(self, claim: Claim, placed: Placed) -> None:
        """Remember a file that was placed in the pool of a claim."""
        now = asyncio.get_running_loop().time()
        here = _PlacedHere(placed, claim.name, now)
        self._placed[claim.pool.uuid, placed.path.name] = here

    def placed(self, pool: Pool, name: str) -> Placed:
        """Return what was placed under a name; anything but a layer for a limited time only.

        After that time, a user may have started a machine with the volume.

        Raises:
            Internal: It was not placed on this connection.
        """
        here = self._placed_here(pool, name)
        age = asyncio.get_running_loop().time() - here.at
        if age > OURS_SECONDS and not is_layer_volume(name):
            return replace(here.placed, ours=False)
        return here.placed

    def claim_of_placed(self, pool: Pool, name: str) -> str:
        """The name of the claim for which something was placed, which may be over by now.

        Raises:
            Internal: It was not placed on this connection.
        """
        return self._placed_here(pool, name).claim

    def _placed_here(self, pool: Pool, name: str) -> "_PlacedHere":
        try:
            return self._placed[pool.uuid, name]
        except KeyError:
            raise Internal(
                f'The volume "{name}" of the pool "{pool.name}" was not placed on this connection.'
            ) from None

    @contextlib.contextmanager
    def making_staging(self) -> Iterator[None]:
        """Make a staging directory within the context, if there is room for one more.

        Raises:
            Internal: There are too many.
        """
        if len(self._stagings) + self._making >= STAGINGS_LIMIT:
            raise Internal(f"The limit of {STAGINGS_LIMIT} staging directories is reached.")
        self._making += 1
        try:
            yield
        finally:
            self._making -= 1

    @contextlib.contextmanager
    def starting_program(self, staging: Staging | None) -> Iterator[None]:
        """Start a program within the context, if there is room for one more.

        Args:
            staging: What it will work in, which is not finished or removed meanwhile.

        Raises:
            Internal: There are too many, or what was written there is finished.
        """
        if len(self._programs) + self._starting >= PROGRAMS_LIMIT:
            raise Internal(f"The limit of {PROGRAMS_LIMIT} running programs is reached.")
        if staging is not None and staging.is_closed:
            raise Internal("What was written there is finished.")
        request = asyncio.current_task()
        assert request is not None, "requests are answered in tasks"
        self._starting += 1
        if staging is not None:
            staging.starting.add(request)
        try:
            yield
        finally:
            self._starting -= 1
            if staging is not None:
                staging.starting.discard(request)

    def add_staging(self, staging: Staging) -> int:
        """Take over a staging directory; its number."""
        number = next(self._numbers)
        self._stagings[number] = staging
        return number

    def add_program(self, program: Program, staging: Staging | None) -> int:
        """Take over a program, which may work in a staging directory; its number."""
        number = next(self._numbers)
        self._programs[number] = program
        if staging is not None:
            staging.programs.add(number)
        return number

    async def end_program(self, number: int) -> StartedProgram:
        """Kill a program and remove it from the connection.

        A program that the kernel does not end still counts as working in its staging directory.
        """
        program = self.program(number)
        if program.ending is None:
            program.ending = asyncio.create_task(program.life.aclose(), name=f"end {number}")
        # A second request waits as well: until then the program can write.
        await asyncio.shield(program.ending)
        self._programs.pop(number, None)
        if program.running.returncode is not None:
            for staging in self._stagings.values():
                staging.programs.discard(number)
        return program.running

    async def _discard(self, number: int, *, failed: bool) -> None:
        """Remove a staging directory, after the programs that work in it."""
        staging = self.staging(number)
        del self._stagings[number]
        staging.is_closed = True
        for request in tuple(staging.starting):
            request.cancel()
            await settled(request)
        working = staging.programs & self._programs.keys()
        await asyncio.gather(*(self.end_program(one) for one in working))
        staging.place.close()
        if failed:
            error = Internal("the job has failed")
            await staging.life.__aexit__(type(error), error, None)
        else:
            await staging.life.aclose()

    async def close(self) -> None:
        """Kill all programs, remove all staging directories, and end all claims and locks."""
        await asyncio.gather(*(self.end_program(one) for one in tuple(self._programs)))
        for number in (*self._stagings, *self._claims, *self._locks):
            await self.release(number, failed=True)


def _unknown(what: str, number: int) -> Internal:
    return Internal(f"No {what} {number} on this connection to virtlayer-keeper.")
