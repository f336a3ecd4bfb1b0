# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hosts that share a pool pull, remove, prune and make volumes at random, and are killed meanwhile.

What every client does, and when its host is killed, follows from the seed, which is a part of the
test's name. SEED=number in the environment sets another.
"""

import asyncio
import contextlib
import logging
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.directory_watch import arrivals
from tests.support.images import Content, directory, file, image, layer, whiteout, write_layout
from tests.support.namespace_host import NamespaceHost
from tests.support.pool_of_hosts import HostLost, PoolClient, PoolOfHosts, pool_of_hosts, raw_file
from tests.support.registry import Registry
from tests.support.soak import FACTOR
from tests.support.trees import differences, umoci_tree
from tests.support.volumes import assert_sound, tree_of
from virtlayer.dbus.connection import BusError

pytestmark = pytest.mark.root

_log = logging.getLogger(__name__)

SEED = int(os.environ.get("SEED", "24"))
STEPS = 15 * FACTOR
"""Of each client."""
NAMES = ("one", "two", "three", "four")
KINDS = {
    "pull": 43,
    "cancelled pull": 6,
    "remove": 20,
    "prune": 8,
    "create": 8,
    "delete": 13,
    "rescan": 2,
}
"""Actions of a client, and their weights."""
DEATHS: dict[Callable[[NamespaceHost], None] | None, int] = {
    None: 93,
    NamespaceHost.kill_daemon: 4,
    NamespaceHost.power_off: 3,
}
"""How a host ends while a client of it does something, and how often."""
REFUSED = {
    "remove": {"ImageNotFound", "InUse"},
    "create": {"ImageNotFound"},
    "pull": {"ImageNotFound"},
    "cancelled pull": {"Cancelled", "ImageNotFound"},
}
"""How else a job may end than well: another host was faster, or uses something."""
LISTED = 10.0
"""Seconds until all hosts list the same."""
BUILT = re.compile(r"has placed the layer volume (layer-[0-9a-f]{64}\.qcow2)")


@dataclass(frozen=True, slots=True)
class Step:
    """What a client does.

    Attributes:
        kind: One of ``KINDS``.
        name: Of the image that it is about.
        content: The number of what a pull pulls.
        death: How its host ends meanwhile; None if it does not.
        moment: When that or a cancellation is, in seconds after the beginning.
    """

    kind: str
    name: str
    content: int
    death: Callable[[NamespaceHost], None] | None
    moment: float


def steps_of(client: str) -> list[Step]:
    """The actions of a client, determined by the seed."""
    chance = random.Random(f"{SEED} {client}")  # noqa: S311 -- no secret
    return [
        Step(
            kind=chance.choices(list(KINDS), list(KINDS.values()))[0],
            name=chance.choice(NAMES),
            content=chance.randrange(len(CONTENTS)),
            death=chance.choices(list(DEATHS), list(DEATHS.values()))[0],
            moment=chance.uniform(0, 0.5),
        )
        for _ in range(STEPS)
    ]


def contents() -> list[Content]:
    """Images with three layers each, which are two bases, four middles and eight tops."""
    seed = random.Random(1)  # noqa: S311 -- no secret
    bases, middles, tops = (
        [
            layer(
                directory("d"),
                file(f"d/{kind}", seed.randbytes(100_000)),
                file(f"d/not-in-{number}", b"x"),
                *([] if kind == "base" else [whiteout(f"d/not-in-{number % 2}")]),
            )
            for number in range(count)
        ]
        for kind, count in (("base", 2), ("middle", 4), ("top", 8))
    )
    return [image([bases[n // 4], middles[n // 2], tops[n]]) for n in range(8)]


CONTENTS = contents()


@dataclass(slots=True)
class Figures:
    """What was done.

    Attributes:
        outcomes: How many jobs of which kind ended how.
        deaths: How many hosts ended how.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    deaths: Counter[str] = field(default_factory=Counter)


class Host:
    """A host for its clients, who wait while it is being started."""

    def __init__(self, host: NamespaceHost, figures: Figures) -> None:
        self.host = host
        self._figures = figures
        self._changing = asyncio.Lock()

    async def ready(self) -> None:
        """Wait until it runs."""
        async with self._changing:
            pass

    async def dies(self, death: Callable[[NamespaceHost], None], moment: float) -> None:
        """End it in a moment, and start it again."""
        await asyncio.sleep(moment)
        async with self._changing:
            await asyncio.to_thread(death, self.host)
            restart = self.host.start
            if death is NamespaceHost.kill_daemon:
                restart = self.host.start_daemon
            await asyncio.to_thread(restart)
            self._figures.deaths[death.__name__] += 1


class Client:
    """Does its steps one after the other."""

    def __init__(
        self,
        name: str,
        client: PoolClient,
        host: Host,
        pool: PoolOfHosts,
        sources: list[str],
        figures: Figures,
    ) -> None:
        self._name = name
        self._client = client
        self._host = host
        self._pool = pool
        self._sources = sources
        self._figures = figures
        self._volumes: list[str] = []

    async def run(self, steps: list[Step]) -> None:
        """Do all of it."""
        for number, step in enumerate(steps):
            await self._host.ready()
            async with asyncio.TaskGroup() as group:
                if step.death is not None:
                    group.create_task(self._host.dies(step.death, step.moment))
                group.create_task(self._do(step, f"{self._name}-{number}"))

    async def _do(self, step: Step, volume: str) -> None:
        if step.kind == "delete":
            self._delete_volume()
            return
        try:
            job = await self._begin(step, volume)
            if step.kind == "cancelled pull":
                await asyncio.sleep(step.moment)
                with contextlib.suppress(BusError):
                    await self._client.cancel(job)
            outcome = await self._client.outcome(job)
        except HostLost:
            self._figures.outcomes[f"{step.kind}: lost"] += 1
            return
        assert outcome.error in REFUSED.get(step.kind, set()) | {""}, (step, volume, outcome)
        self._figures.outcomes[f"{step.kind}: {outcome.error or 'done'}"] += 1

    async def _begin(self, step: Step, volume: str) -> str:
        client = self._client
        match step.kind:
            case "remove":
                return await client.remove(step.name)
            case "prune":
                return await client.prune()
            case "rescan":
                return await client.rescan()
            case "create":
                self._volumes.append(volume)
                return await client.create_volume(step.name, volume)
        return await client.pull(self._sources[step.content], step.name)

    def _delete_volume(self) -> None:
        if self._volumes:
            # As an administrator may: libvirt does not know of it.
            (self._pool.path / self._volumes.pop(0)).unlink(missing_ok=True)


async def listed_by_all(pool: PoolOfHosts) -> dict[str, tuple[str, str]]:
    """The final listing of every host: names, digests and top volumes."""
    async with asyncio.timeout(LISTED):
        while True:
            lists = [await client.images() for client in pool.clients]
            if all(one == lists[0] for one in lists):
                return {name: (one.digest, one.volume) for name, one in lists[0].items()}
            await asyncio.sleep(0.2)


def check_image(pool: PoolOfHosts, content: Content, volume: str, work: Path) -> None:
    """See that a volume has what an image has."""
    _ = pool.chain(volume)
    with raw_file(pool.path / volume, work) as raw:
        assert_sound(raw)
        found = tree_of(raw)
    found.pop(b"lost+found", None)
    layout = write_layout(work / "layout", {"1": content})
    assert differences(found, umoci_tree(layout, "1", work)) == []


async def check_end(pool: PoolOfHosts, work: Path) -> None:
    """See that everything that is listed is whole, and that a prune leaves what is needed."""
    by_digest = {content.digest: content for content in CONTENTS}
    images = await listed_by_all(pool)
    for digest, volume in images.values():
        await asyncio.to_thread(check_image, pool, by_digest[digest], volume, work)
    others = {path.name for path in pool.path.iterdir() if path.is_file()} - pool.layers
    tops = others.union(volume for _, volume in images.values())
    needed = {name for top in tops for name in pool.chain(top)}
    assert needed <= pool.layers | others
    await pool.swept_by(pool.clients[0])
    assert pool.layers == needed - others
    assert pool.records.get("layer", set()) == pool.layers
    assert pool.records.get("image", set()) == images.keys()
    assert await listed_by_all(pool) == images


@pytest.mark.parametrize(
    ("names", "clients"),
    [("ab", 2), ("abcd", 1)],
    ids=[f"two-hosts-seed-{SEED}", f"four-hosts-seed-{SEED}"],
)
async def test_nothing_is_lost_and_nothing_is_left(
    names: str, clients: int, tmp_path: Path
) -> None:
    figures = Figures()
    async with contextlib.AsyncExitStack() as life:
        registry = life.enter_context(Registry(tmp_path / "registry"))
        sources = [registry.store(one, f"torture:{n}") for n, one in enumerate(CONTENTS)]
        pool = await life.enter_async_context(pool_of_hosts(*names))
        came = life.enter_context(arrivals(pool.path))
        async with asyncio.TaskGroup() as group:
            for client in pool.clients:
                host = Host(client.host, figures)
                for number in range(clients):
                    name = f"{client.host.name}{number}"
                    does = Client(name, client, host, pool, sources, figures)
                    group.create_task(does.run(steps_of(name)))
        await check_end(pool, tmp_path)
        logs = [client.host.daemon_log for client in pool.clients]
    built = Counter(name for log in logs for name in BUILT.findall(log))
    _log.warning("%s; %d layers built", figures, built.total())
    assert [name for name in built if built[name] > came[name]] == []
    assert [line for log in logs for line in log.splitlines() if "Traceback" in line] == []
