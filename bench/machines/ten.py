# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ten machines of one image."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.commands import stopwatch
from bench.inputs import Image
from bench.machines.calls import SMALL, create, followed, remove, uptime_in
from bench.machines.output import output_of, wait_for_line
from bench.machines.place import AtPlace
from bench.memory import keepers_of, resident
from bench.result import Finished, finished_with
from virtlayer.client.bus.caller import Client

_NAMES = tuple(f"ten-{number}" for number in range(10))


class InSequence(AtPlace):
    """Ten CreateDomain with ``start`` false, one after the other."""

    title = "one after the other"

    @contextlib.contextmanager
    def __call__(self, image: Image, _directory: Path) -> Iterator[Finished]:
        """Make machines."""
        with self._place.nothing_left():
            yield finished_with([self._place.asked(partial(_one_by_one, image=image))])


class AtOnce(AtPlace):
    """Ten CreateDomain with ``start`` false at the same time, each of a client of its own."""

    title = "ten CreateDomain without start at once"

    @contextlib.contextmanager
    def __call__(self, image: Image, _directory: Path) -> Iterator[Finished]:
        """Make machines."""
        with self._place.nothing_left():
            yield finished_with([asyncio.run(_at_once(image))])


class FirstLines(AtPlace):
    """Ten CreateDomain and StartDomain at the same time, until all have their first line.

    The parts have the memory of the service and of its keeper with the ten open streams.
    """

    title = "ten machines of one image at once, the last one's first line"

    @contextlib.contextmanager
    def __call__(self, image: Image, _directory: Path) -> Iterator[Finished]:
        """Make and start machines."""
        with self._place.nothing_left():
            service = self._place.installation.daemon.process.pid
            yield asyncio.run(_all_followed(image, service))


class FirstLinesOfVirsh(AtPlace):
    """Ten ``virsh create`` at the same time, until all have their first line."""

    title = "ten virsh create of the same XML at once"

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Start machines."""
        place = self._place
        with place.nothing_left():
            place.asked(partial(_one_by_one, image=image, keep=True))
            files = []
            for name in _NAMES:
                files.append(directory / f"{name}.xml")
                text = place.virsh("dumpxml", "--inactive", "--security-info", name)
                files[-1].write_text(text)
            yield finished_with([self._created(image, files)])
            for name in _NAMES:
                place.virsh("destroy", name)
            place.asked(_removed)

    def _created(self, image: Image, files: Sequence[Path]) -> float:
        outputs = [self._place.inside(output_of(file)) for file in files]
        with stopwatch() as watch:
            commands = [
                subprocess.Popen(self._place.virsh_command("create", file)) for file in files
            ]
            lines = [wait_for_line(output) for output in outputs]
        for command in commands:
            if command.wait() != 0:
                raise SystemExit("virsh create has failed.")
        for line in lines:
            uptime_in(line, image)
        return watch.seconds


async def _one_by_one(client: Client, image: Image, *, keep: bool = False) -> float:
    """Make ten machines; return the seconds, and remove them."""
    with stopwatch() as watch:
        for name in _NAMES:
            await create(client, image, name, SMALL)
    if not keep:
        await _removed(client)
    return watch.seconds


async def _at_once(image: Image) -> float:
    async with contextlib.AsyncExitStack() as life:
        clients = await _clients(life)
        with stopwatch() as watch:
            await asyncio.gather(
                *(create(client, image, name, SMALL) for name, client in clients.items())
            )
        await _removed(clients[_NAMES[0]])
    return watch.seconds


async def _all_followed(image: Image, service: int) -> Finished:
    async with contextlib.AsyncExitStack() as life:
        clients = await _clients(life)
        begun = time.perf_counter()

        async def line(name: str, client: Client) -> None:
            await life.enter_async_context(followed(client, image, name, SMALL))
            ends.append(time.perf_counter() - begun)

        ends: list[float] = []
        await asyncio.gather(*(line(name, client) for name, client in clients.items()))
        memory = {"service": resident(service), "keeper": sum(map(resident, keepers_of(service)))}
        await _removed(clients[_NAMES[0]])
    return finished_with([max(ends)], **{name: [float(size)] for name, size in memory.items()})


async def _clients(life: contextlib.AsyncExitStack) -> dict[str, Client]:
    return {name: await life.enter_async_context(Client.connected(session=True)) for name in _NAMES}


async def _removed(client: Client) -> None:
    for name in _NAMES:
        await remove(client, name)
