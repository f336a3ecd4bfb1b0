# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls of a client that makes machines, and the first line of their program."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.commands import stopwatch
from bench.inputs import Image
from bench.trees import WrongTree
from virtlayer.cancellation import meanwhile
from virtlayer.client.bus.answers import StartedJob
from virtlayer.client.bus.caller import Client
from virtlayer.client.bus.values import OptionValue, SmallNumber
from virtlayer.client.terminal.receiving import received_records
from virtlayer.protocol.streams import RecordKind
from virtlayer.sizes import MIB

POOL = "bench-0"
COMMAND = (
    "/bin/sh",
    "-c",
    "read line </line; read up idle </proc/uptime; echo $line $up; sleep 9999",
)
"""Prints what the image says, and how long its kernel runs."""
PLAIN: Mapping[str, OptionValue] = {
    "type": "qemu",
    # With several, an emulated machine can stall on a busy host.
    "vcpus": SmallNumber(1),
    "command": list(COMMAND),
    "network": "none",
    "start": False,
}
SMALL: Mapping[str, OptionValue] = {**PLAIN, "memory": 128 * MIB}
"""For many machines at once."""


@dataclass(frozen=True, slots=True)
class FirstLine:
    """The first line of a machine.

    Attributes:
        created: Seconds of CreateDomain.
        started: Seconds from StartDomain to the line.
        uptime: Seconds that the kernel of the machine had run then.
    """

    created: float
    started: float
    uptime: float

    @property
    def seconds(self) -> float:
        """From the call of CreateDomain."""
        return self.created + self.started


def name_of(image: Image) -> str:
    """Return the name of an image in the pool."""
    return image.repository.rpartition("/")[2]


async def create(
    client: Client, image: Image, name: str, options: Mapping[str, OptionValue] = PLAIN
) -> float:
    """Make a machine; return the seconds."""
    with stopwatch() as watch:
        await _job(client, "CreateDomain", "sssa{sv}", POOL, name_of(image), name, options=options)
    return watch.seconds


async def first_line(
    client: Client, image: Image, name: str, options: Mapping[str, OptionValue] = PLAIN
) -> FirstLine:
    """Make and start a machine; return when its first line came, which is checked."""
    async with followed(client, image, name, options) as line:
        return line


@contextlib.asynccontextmanager
async def followed(
    client: Client, image: Image, name: str, options: Mapping[str, OptionValue] = PLAIN
) -> AsyncIterator[FirstLine]:
    """Make and start a machine; its stream stays open within the context."""
    created = await create(client, image, name, options)
    begun = time.perf_counter()
    stream = await client.open_streams(name, follow=True)
    reader, writer = await asyncio.open_unix_connection(sock=stream)
    try:
        starting = asyncio.create_task(_job(client, "StartDomain", "sa{sv}", name))
        # It ends, without a line, if the start fails.
        line = await _line(reader, starting)
        started = time.perf_counter() - begun
        await starting
        yield FirstLine(created, started, uptime_in(line, image))
    finally:
        writer.transport.abort()


async def remove(client: Client, name: str) -> None:
    """Remove a machine, which may run."""
    await _job(client, "RemoveDomain", "sa{sv}", name, options={"force": True})


def uptime_in(line: bytes, image: Image) -> float:
    """Return the seconds in a first line.

    Raises:
        WrongTree: It is not that of the image.
    """
    words = line.split()
    if len(words) != 2 or words[0].decode() != image.name:
        raise WrongTree(f'the first line of a machine of "{image.name}" is {line!r}')
    return float(words[1])


async def _line(reader: asyncio.StreamReader, starting: asyncio.Task[None]) -> bytes:
    """Wait for the first line of a machine, or until it cannot be started."""

    async def read() -> bytes:
        async with contextlib.aclosing(received_records(reader)) as records:
            async for record in records:
                if record.kind is RecordKind.STDOUT:
                    return record.content
        raise SystemExit("The machine has ended without a line.")

    async with meanwhile(read()) as reading:
        await asyncio.wait((reading, starting), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        return await reading


async def _job(client: Client, member: str, signature: str, *arguments: str, **more: Any) -> None:
    job: StartedJob = await client.start(member, signature, *arguments, **more)
    (await client.wait(job, lambda _: None)).raise_for_failure()
