# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pool of the system's service, and two users with different rights, by real polkit.

::

    async with shared_pool(host, tmp_path, rules_for("news", "remove")) as shared:
        result = await shared.done(shared.news, "Prune", "sa{sv}", shared.pool, {})
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbus_next.signature import Variant

from tests.bus.daemon import virtlayerd
from tests.bus.polkit import open_directory, polkitd
from tests.bus.users import User, user
from tests.support import images
from tests.support.bus_daemon import system_bus
from tests.support.faulty_registry import FaultyRegistry
from tests.support.job_watch import plain
from tests.support.libvirt_host import LibvirtHost
from tests.support.waiting import PATIENCE
from virtlayer.sizes import MIB

IMAGE = "org.virtlayer1.Image"
JOB = "org.virtlayer1.Job"
PROPERTIES = "org.freedesktop.DBus.Properties"
_numbers = itertools.count(1)


def rules_for(name: str, *actions: str) -> str:
    """Rules of polkit by which only one user may do these actions, and everybody may do all others.

    Args:
        name: The user's.
        actions: Without ``org.virtlayer1.``.
    """
    wanted = ", ".join(f'"org.virtlayer1.{action}"' for action in actions)
    return (
        "polkit.addRule(function (action, subject) {"
        f"if ([{wanted}].indexOf(action.id) >= 0)"
        f'  return subject.user == "{name}" ? polkit.Result.YES : polkit.Result.NO;'
        'if (action.id.indexOf("org.virtlayer1.") == 0) return polkit.Result.YES;'
        "});\n"
    )


@dataclass(frozen=True, slots=True)
class SharedPool:
    """The pool and those who use it.

    Attributes:
        host: Its libvirtd.
        registry: Where images come from.
        pool: Its name.
        games: A user.
        news: Another one.
    """

    host: LibvirtHost
    registry: FaultyRegistry
    pool: str
    games: User
    news: User

    @property
    def path(self) -> Path:
        """The pool's directory."""
        return self.host.pool_directory(self.pool)

    def store(self, name: str, *words: str) -> str:
        """Store an image with a layer for each word; return its source."""
        layers = [images.layer(images.file(word)) for word in words]
        return self.registry.store(images.image(layers), name)

    async def begin_pull(self, who: User, source: str, **options: Variant) -> str:
        """Start a pull; return the path of the job."""
        given = {"tls-verify": Variant("b", False)} | options
        _number, path = await who.ask("Pull", "ssa{sv}", source, self.pool, given)
        return str(path)

    async def pull(self, who: User, source: str, **options: Variant) -> dict[str, Any]:
        """Pull an image; return the result of the job."""
        return _result(await self.end(who, await self.begin_pull(who, source, **options)))

    async def end(self, who: User, path: str) -> dict[str, Any]:
        """Wait for the end of a job; return those of its properties that the user sees."""
        async with asyncio.timeout(PATIENCE):
            await who.ask("Wait", path=path, interface=JOB)
        values = await who.ask("GetAll", "s", JOB, path=path, interface=PROPERTIES)
        return {name: plain(value) for name, value in values.items()}

    async def run(self, who: User, member: str, signature: str, *body: object) -> dict[str, Any]:
        """Start a job, wait for its end, and return its properties."""
        _number, path = await who.ask(member, signature, *body)
        return await self.end(who, str(path))

    async def done(self, who: User, member: str, signature: str, *body: object) -> dict[str, Any]:
        """Run a job that works; return its result."""
        return _result(await self.run(who, member, signature, *body))

    async def image(self, who: User, name: str) -> dict[str, Any]:
        """Those of an image's properties that a user sees."""
        rows = await who.ask("ListImages", "s", self.pool)
        [path] = [row[0] for row in rows if row[2] == name]
        values = await who.ask("GetAll", "s", IMAGE, path=path, interface=PROPERTIES)
        return {key: plain(value) for key, value in values.items()}

    async def names(self) -> list[str]:
        """The names of the pool's images."""
        return sorted(row[2] for row in await self.news.ask("ListImages", "s", self.pool))


def _result(job: dict[str, Any]) -> dict[str, Any]:
    assert job["State"] == "done", job
    found: dict[str, Any] = job["Result"]
    return found


@contextlib.asynccontextmanager
async def shared_pool(host: LibvirtHost, directory: Path, rules: str) -> AsyncIterator[SharedPool]:
    """Run the service on a private system bus, with a new pool.

    Args:
        host: The libvirtd.
        directory: For what the service writes.
        rules: Of polkit.
    """
    pool = f"shared-{next(_numbers)}"
    host.start_pool(pool)
    settings = f"[storage]\nvirtual-size = {64 * MIB}\n"
    with (
        open_directory() as place,
        system_bus(place, others=["org.freedesktop.PolicyKit1.conf"]) as bus,
    ):
        async with (
            FaultyRegistry() as registry,
            polkitd(bus, rules),
            virtlayerd(bus, directory, "--connect", host.uri, settings=settings),
            user(bus, "games") as games,
            user(bus, "news") as news,
        ):
            yield SharedPool(host, registry, pool, games, news)
    host.stop_pool(pool)
