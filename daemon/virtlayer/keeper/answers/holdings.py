# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one connection of the service holds: it means nothing on another, and ends with it."""

import asyncio
import itertools
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from virtlayer.errors import Internal
from virtlayer.keeper.commit import FlushedFile, Placed
from virtlayer.keeper.staging import StagingDirectory
from virtlayer.programs import RunningProgram
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.pools import Pool, Usage

STAGINGS_LIMIT = 64
PROGRAMS_LIMIT = 256


@dataclass(slots=True)
class Staging:
    """A staging directory of a connection.

    Attributes:
        pool: Its pool.
        purpose: What is made there.
        directory: The directory.
        life: Removes it.
        readers: Finds the group that reads the layers; None if nothing there is read.
        output: A descriptor of the file or directory that a worker writes; None if there is none.
        flushed: The files that are finished and on disk, by their names.
        programs: The numbers of the programs that work in it.
        is_closed: Whether no further program may be started in it.
        is_finished: Whether its directory was checked and flushed.
    """

    pool: Pool
    purpose: Purpose
    directory: StagingDirectory
    life: AsyncExitStack
    readers: asyncio.Task[int | None] | None = None
    output: int | None = None
    flushed: dict[str, FlushedFile] = field(default_factory=dict)
    programs: set[int] = field(default_factory=set)
    is_closed: bool = False
    is_finished: bool = False


@dataclass(slots=True)
class Program:
    """A program of a connection; ``life`` kills and reaps it."""

    running: RunningProgram
    life: AsyncExitStack


@dataclass(slots=True)
class Survey:
    """Who uses the volumes of a pool, and when that was seen (by the loop's clock)."""

    usage: Usage
    at: float


class Holdings:
    """Staging directories, programs, and what was placed and seen on one connection."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self.placed: dict[tuple[str, str], Placed] = {}
        self.surveys: dict[str, Survey] = {}
        self._stagings: dict[int, Staging] = {}
        self._programs: dict[int, Program] = {}
        self._numbers = itertools.count(1)

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

    def check_room_for_staging(self) -> None:
        """See that the connection may have one more staging directory.

        Raises:
            Internal: It has too many.
        """
        if len(self._stagings) >= STAGINGS_LIMIT:
            raise Internal(f"The service has {STAGINGS_LIMIT} staging directories, the most.")

    def check_room_for_program(self) -> None:
        """See that the connection may have one more program.

        Raises:
            Internal: It has too many.
        """
        if len(self._programs) >= PROGRAMS_LIMIT:
            raise Internal(f"The service has {PROGRAMS_LIMIT} programs running, the most.")

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

    async def end_program(self, number: int) -> RunningProgram:
        """Kill a program and forget it."""
        program = self.program(number)
        await program.life.aclose()
        self._programs.pop(number, None)
        for staging in self._stagings.values():
            staging.programs.discard(number)
        return program.running

    async def discard(self, number: int, *, failed: bool) -> None:
        """Remove a staging directory, after the programs that work in it."""
        staging = self.staging(number)
        del self._stagings[number]
        await asyncio.gather(*(self.end_program(one) for one in tuple(staging.programs)))
        for flushed in staging.flushed.values():
            flushed.close()
        if failed:
            error = Internal("the job has failed")
            await staging.life.__aexit__(type(error), error, None)
        else:
            await staging.life.aclose()

    async def close(self) -> None:
        """Kill all programs and remove all staging directories."""
        await asyncio.gather(*(self.end_program(one) for one in tuple(self._programs)))
        for number in tuple(self._stagings):
            await self.discard(number, failed=True)


def _unknown(what: str, number: int) -> Internal:
    return Internal(f"There is no {what} {number} on this connection to virtlayer-keeper.")
