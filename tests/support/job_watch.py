# SPDX-License-Identifier: LGPL-2.1-or-later
"""A D-Bus client that starts jobs of virtlayerd and writes down every signal about them."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.support.waiting import PATIENCE
from virtlayer.dbus.connection import Connection

SERVICE = "org.virtlayer1"
ROOT = "/org/virtlayer1"
MANAGER = "org.virtlayer1.Manager"
JOB = "org.virtlayer1.Job"
IMAGE = "org.virtlayer1.Image"
PROPERTIES = "org.freedesktop.DBus.Properties"


@dataclass(slots=True)
class Told:
    """A signal and when it came."""

    moment: float
    path: str
    member: str
    body: list[Any] = field(default_factory=list)


class Watch:
    """Made with ``watching``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.told: list[Told] = []
        self._news = asyncio.Event()
        connection.on_signal = self._note

    async def pull(self, source: str, pool: str, **options: Variant) -> str:
        """Start a pull; return the path of the job. ``tls_verify`` is false unless given."""
        given = {"tls_verify": Variant("b", False)} | options
        named = {name.replace("_", "-"): value for name, value in given.items()}
        _number, path = await self.ask(ROOT, MANAGER, "Pull", "ssa{sv}", source, pool, named)
        return str(path)

    async def finished(self, path: str) -> dict[str, Any]:
        """Wait for the end of a job; return its properties."""
        while not self.of(path, "Finished"):
            async with asyncio.timeout(PATIENCE):
                await self._news.wait()
            self._news.clear()
        return await self.properties(path, JOB)

    async def reaches(self, path: str, **wanted: object) -> None:
        """Wait until properties of a running job have these values."""
        async with asyncio.timeout(PATIENCE):
            while True:
                job = await self.properties(path, JOB)
                if all(job[name] == value for name, value in wanted.items()):
                    return
                assert not job["FinishedAt"], job
                await asyncio.sleep(0.01)

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        """Return the properties of an object."""
        [values] = await self.connection.ask(SERVICE, path, PROPERTIES, "GetAll", "s", [interface])
        return {name: plain(value) for name, value in values.items()}

    async def ask(
        self, path: str, interface: str, member: str, signature: str = "", *body: object
    ) -> Any:
        """Call a method; return its one value, or all of them."""
        reply = await self.connection.ask(SERVICE, path, interface, member, signature, body)
        return reply[0] if len(reply) == 1 else reply

    def of(self, path: str, member: str) -> list[Told]:
        """The signals of that name that an object has sent."""
        return [told for told in self.told if (told.path, told.member) == (path, member)]

    def _note(self, message: Message) -> None:
        body = [plain(value) for value in message.body]
        self.told.append(Told(time.monotonic(), message.path, message.member, body))
        self._news.set()


@contextlib.asynccontextmanager
async def watching(address: str, *, uid: int | None = None) -> AsyncIterator[Watch]:
    """Connect to a session bus, and listen to the service there.

    Args:
        address: That of the bus.
        uid: The user who connects, if the test is root; None for the test's own.
    """
    with _identity(uid):
        connection = await Connection.opened(session=True, address=address)
    async with connection:
        watch = Watch(connection)
        bus = "org.freedesktop.DBus"
        rule = f"type='signal',sender='{SERVICE}'"
        await connection.ask(bus, "/org/freedesktop/DBus", bus, "AddMatch", "s", [rule])
        yield watch


@contextlib.contextmanager
def _identity(uid: int | None) -> Iterator[None]:
    if uid is None or uid == os.geteuid():
        yield
        return
    # The kernel notes the uid when the socket is connected; dbus-next sends the real one.
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def plain(value: Any) -> Any:
    """A value without its variants."""
    match value:
        case Variant():
            return plain(value.value)
        case dict():
            return {key: plain(inner) for key, inner in value.items()}
        case list():
            return [plain(inner) for inner in value]
    return value
