# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pull replaces an image of another source only if the caller asks for it and may remove it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import Variant

from tests.bus.daemon import virtlayerd
from tests.bus.polkit import open_directory, polkitd
from tests.bus.users import User, user
from tests.support import images
from tests.support.bus_daemon import Bus, system_bus
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.job_watch import plain
from tests.support.libvirt_host import LibvirtHost
from virtlayer.sizes import MIB

pytestmark = pytest.mark.root
RULES = (
    "polkit.addRule(function (action, subject) {"
    'if (action.id == "org.virtlayer1.remove" || action.id == "org.virtlayer1.read-details")'
    '  return subject.user == "news" ? polkit.Result.YES : polkit.Result.NO;'
    'if (action.id.indexOf("org.virtlayer1.") == 0) return polkit.Result.YES;'
    "});\n"
)
IMAGE = "org.virtlayer1.Image"
JOB = "org.virtlayer1.Job"
PROPERTIES = "org.freedesktop.DBus.Properties"
_numbers = itertools.count(1)


@dataclass
class World:
    """A daemon on a system bus; games may pull, and news may remove as well."""

    registry: FaultyRegistry
    pool: str
    games: User
    news: User

    def store(self, name: str, text: str) -> str:
        content = images.image([images.layer(images.file(text))])
        return self.registry.store(content, name)

    async def begin(self, who: User, source: str, *, replace: bool = False) -> str:
        options = _options(replace)
        _number, path = await who.ask("Pull", "ssa{sv}", source, self.pool, options)
        return str(path)

    async def end(self, who: User, path: str) -> dict[str, Any]:
        while True:
            async with asyncio.timeout(60):
                values = await who.ask("GetAll", "s", JOB, path=path, interface=PROPERTIES)
            if values["FinishedAt"].value:
                return {name: plain(value) for name, value in values.items()}
            await asyncio.sleep(0.01)

    async def pull(self, who: User, source: str, *, replace: bool = False) -> str:
        """Pull as "shown"; return how that ended."""
        job = await self.end(who, await self.begin(who, source, replace=replace))
        return str(job["Error"] or job["State"]).rpartition(".")[2]

    async def refused(self, who: User, source: str, *, replace: bool = False) -> tuple[str, str]:
        return await who.refused("Pull", "ssa{sv}", source, self.pool, _options(replace))

    async def shown(self) -> str:
        """The top volume of the image of that name."""
        [row] = await self.news.ask("ListImages", "s", self.pool)
        assert row[2] == "shown"
        volume = await self.news.ask(
            "Get", "ss", IMAGE, "Volume", path=row[0], interface=PROPERTIES
        )
        return str(volume.value)

    async def former(self, who: User) -> list[list[Any]] | None:
        """The former versions of the image of that name, if they are shown to this user."""
        [row] = await self.news.ask("ListImages", "s", self.pool)
        shown = await who.ask("GetAll", "s", IMAGE, path=row[0], interface=PROPERTIES)
        return plain(shown["FormerVersions"]) if "FormerVersions" in shown else None


def _options(replace: bool) -> dict[str, Variant]:
    given = {"tls-verify": Variant("b", False), "name": Variant("s", "shown")}
    return given | ({"replace": Variant("b", True)} if replace else {})


@pytest.fixture
def system() -> Iterator[Bus]:
    with (
        open_directory() as directory,
        system_bus(directory, others=["org.freedesktop.PolicyKit1.conf"]) as running,
    ):
        yield running


@pytest.fixture
async def world(system: Bus, host: LibvirtHost, tmp_path: Path) -> AsyncIterator[World]:
    # The catalog of each test is new: it would not know the layers of another one.
    pool = f"replacing-{next(_numbers)}"
    host.start_pool(pool)
    settings = f"[storage]\nvirtual-size = {64 * MIB}\n"
    async with (
        FaultyRegistry() as registry,
        polkitd(system, RULES),
        virtlayerd(system, tmp_path, "--connect", host.uri, settings=settings),
        user(system, "games") as games,
        user(system, "news") as news,
    ):
        yield World(registry, pool, games, news)
    host.stop_pool(pool)


async def test_image_of_another_source_is_replaced_only_when_asked(world: World) -> None:
    first, second = world.store("one:1", "one"), world.store("two:1", "two")
    assert await world.pull(world.news, first) == "done"
    before = await world.shown()
    error, text = await world.refused(world.news, second)
    assert (error, '"shown"' in text, "--replace" in text) == ("ImageExists", True, True)
    # Not what it came from.
    assert first not in text
    assert await world.shown() == before
    assert await world.pull(world.news, second, replace=True) == "done"
    assert await world.shown() != before


async def test_replacing_needs_the_right_to_remove(world: World) -> None:
    first, second = world.store("one:1", "one"), world.store("two:1", "two")
    assert await world.pull(world.news, first) == "done"
    before = await world.shown()
    error, text = await world.refused(world.games, second, replace=True)
    assert (error, "org.virtlayer1.remove" in text) == ("NotAuthorized", True)
    assert (await world.refused(world.games, second))[0] == "ImageExists"
    assert await world.shown() == before


async def test_replace_is_refused_where_no_image_is_made(world: World) -> None:
    options = _options(True) | {"format": Variant("s", "disk")}
    source = world.store("one:1", "one")
    error, text = await world.news.refused("Pull", "ssa{sv}", source, world.pool, options)
    assert (error, "--replace" in text) == ("InvalidArgument", True)


async def test_what_was_replaced_is_listed_until_it_is_pruned(world: World) -> None:
    first, second = world.store("one:1", "one"), world.store("two:1", "two")
    assert await world.pull(world.news, first) == "done"
    before = await world.shown()
    assert await world.pull(world.news, second, replace=True) == "done"
    versions = await world.former(world.news)
    assert versions is not None
    [version] = versions
    assert (version[0], version[2]) == (first, before)
    # Where it came from is not for everybody.
    assert await world.former(world.games) is None
    _number, path = await world.news.ask("Prune", "sa{sv}", world.pool, {})
    assert (await world.end(world.news, path))["State"] == "done"
    assert await world.former(world.news) == []


async def test_same_version_can_be_pulled_again_by_everybody(world: World) -> None:
    source = world.store("one:1", "one")
    assert await world.pull(world.news, source) == "done"
    assert await world.pull(world.games, source) == "done"


async def test_moved_tag_is_followed_only_with_the_right_to_remove(world: World) -> None:
    source = world.store("one:1", "old")
    assert await world.pull(world.news, source) == "done"
    before = await world.shown()
    world.store("one:1", "new")
    assert await world.pull(world.games, source) == "NotAuthorized"
    assert await world.shown() == before
    assert await world.pull(world.news, source) == "done"
    assert await world.shown() != before


async def test_name_that_is_taken_meanwhile_is_not_replaced(world: World) -> None:
    content = images.image([images.layer(images.file("slow"))])
    slow = world.registry.store(content, "slow:1")
    world.registry.faults[content.layer_digests[0]] = Fault.HANG
    path = await world.begin(world.games, slow)
    # The name was free when the call was answered.
    assert await world.pull(world.news, world.store("two:1", "two")) == "done"
    before = await world.shown()
    world.registry.faults.clear()
    world.registry.release()
    job = await world.end(world.games, path)
    assert job["Error"] == "org.virtlayer1.Error.ImageExists"
    assert await world.shown() == before
