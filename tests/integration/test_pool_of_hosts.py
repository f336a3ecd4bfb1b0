# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hosts that share a pool: what one makes the others see, and what one needs the others keep."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import LayerContent, file, image, layer
from tests.support.namespace_host import NamespaceHost
from tests.support.pool_of_hosts import PoolClient, PoolOfHosts, pool_of_hosts
from tests.support.waiting import until

pytestmark = pytest.mark.root

BASE, MIDDLE, TOP = (layer(file(f"etc/{name}", name.encode() * 5000)) for name in ("b", "m", "t"))
LISTED = 10.0
"""Seconds until a host lists what another has made."""
TAKEN_OVER = 20.0
"""Seconds until a host builds what a dead one was building."""


@pytest.fixture
async def pool() -> AsyncIterator[PoolOfHosts]:
    """A pool of two hosts."""
    async with pool_of_hosts("a", "b") as pool:
        yield pool


@pytest.fixture
def clients(pool: PoolOfHosts) -> tuple[PoolClient, ...]:
    """One on each host."""
    return pool.clients


async def listed(client: PoolClient, names: set[str]) -> None:
    """Wait until a host lists these images and no others."""
    async with asyncio.timeout(LISTED):
        while (await client.images()).keys() != names:
            await asyncio.sleep(0.1)


def requests(registry: FaultyRegistry, digest: str) -> int:
    """How often a blob or manifest was asked for."""
    return sum(path.endswith(digest) for path in registry.requested)


async def building(
    pool: PoolOfHosts, registry: FaultyRegistry, layers: list[LayerContent]
) -> tuple[str, str]:
    """Begin a pull on the first host, which waits for the last blob; return the source and the job.

    The other layers are in the pool then.
    """
    source = registry.store(image(layers), "demo:1")
    registry.faults[layers[-1].digest] = Fault.HANG
    job = await pool.clients[0].pull(source, "demo")
    await until(lambda: requests(registry, layers[-1].digest) == 1)
    await until(lambda: len(pool.layers) >= len(layers) - 1)
    return source, job


async def resolved(registry: FaultyRegistry, times: int) -> None:
    """Wait until so many pulls have asked for the manifest of the image."""
    await until(lambda: requests(registry, "/demo/manifests/1") == times)


async def cancelled_soon(client: PoolClient, job: str) -> None:
    """Cancel a job, which ends within the time that the interface promises."""
    begun = time.monotonic()
    await client.cancel(job)
    assert time.monotonic() - begun < 1


def let_through(registry: FaultyRegistry) -> None:
    """Answer every request from now on, and those that wait."""
    registry.faults.clear()
    registry.release()


async def test_host_that_lost_its_state_lists_the_images(
    clients: tuple[PoolClient, ...], registry: FaultyRegistry
) -> None:
    a, _ = clients
    for name in ("one", "two"):
        source = registry.store(image([BASE, layer(file(name))]), f"{name}:1")
        await a.done(await a.pull(source, name))
    before = await a.images()
    a.host.kill_daemon()
    a.host.forget()
    a.host.start_daemon()
    assert await a.images() == before
    assert before.keys() == {"one", "two"}


async def test_images_of_another_host_are_listed_and_leave_the_list(
    clients: tuple[PoolClient, ...], registry: FaultyRegistry
) -> None:
    a, b = clients
    assert await b.images() == {}
    await a.done(await a.pull(registry.store(image([BASE]), "demo:1"), "demo"))
    await listed(b, {"demo"})
    await a.done(await a.remove("demo"))
    await listed(b, set())


async def test_volume_is_created_on_an_image_that_another_host_has_just_pulled(
    pool: PoolOfHosts, registry: FaultyRegistry
) -> None:
    a, b = pool.clients
    await a.done(await a.pull(registry.store(image([BASE, TOP]), "demo:1"), "demo"))
    created = await b.done(await b.create_volume("demo", "machine.qcow2"))
    assert len(pool.chain(created["volume"])) == 3


async def test_pulls_of_one_image_on_two_hosts_build_each_layer_once(
    pool: PoolOfHosts, registry: FaultyRegistry
) -> None:
    a, b = pool.clients
    source, first = await building(pool, registry, [BASE, MIDDLE, TOP])
    second = await b.pull(source, "demo")
    await resolved(registry, 2)
    let_through(registry)
    results = [await a.done(first), await b.done(second)]
    assert results[0]["volumes"] == results[1]["volumes"]
    assert sorted(result["layers-built"] for result in results) == [0, 3]
    assert [requests(registry, one.digest) for one in (BASE, MIDDLE, TOP)] == [1, 1, 1]
    assert pool.layers == set(results[0]["volumes"])
    assert pool.unfinished == []


async def test_job_that_waits_for_a_layer_of_another_host_can_be_cancelled(
    pool: PoolOfHosts, registry: FaultyRegistry
) -> None:
    a, b = pool.clients
    source, first = await building(pool, registry, [BASE, TOP])
    second = await b.pull(source, "demo")
    await resolved(registry, 2)
    await cancelled_soon(b, second)
    let_through(registry)
    assert (await a.done(first))["layers-built"] == 2
    assert pool.unfinished == []


@pytest.mark.parametrize("kind", ["pull", "remove", "prune"])
async def test_job_that_waits_for_the_lock_of_a_pool_can_be_cancelled(
    pool: PoolOfHosts, registry: FaultyRegistry, kind: str
) -> None:
    a = pool.clients[0]
    source = registry.store(image([BASE]), "demo:1")
    await a.done(await a.pull(source, "demo"))
    start = {
        "pull": lambda: a.pull(source, "demo"),
        "remove": lambda: a.remove("demo"),
        "prune": a.prune,
    }
    with pool.locked():
        job = await start[kind]()
        await a.is_running(job)
        await cancelled_soon(a, job)
    await a.done(await start[kind]())


async def test_layer_that_a_pull_of_another_host_is_based_on_is_not_removed(
    pool: PoolOfHosts, registry: FaultyRegistry, tmp_path: Path
) -> None:
    a, b = pool.clients
    alone = await a.done(await a.pull(registry.store(image([BASE, TOP]), "x:1"), "alone"))
    expected = pool.fingerprint(alone["volume"], tmp_path)
    await a.done(await a.remove("alone"))
    assert pool.layers == set()

    base = await b.done(await b.pull(registry.store(image([BASE]), "base:1"), "base"))
    _, job = await building(pool, registry, [BASE, MIDDLE])
    await listed(b, {"base"})
    await b.done(await b.remove("base"))
    await b.done(await b.prune())
    assert pool.layers == set(base["volumes"])
    let_through(registry)
    pulled = await a.done(job)
    assert pool.chain(pulled["volume"]) == pulled["volumes"][::-1]
    top = registry.store(image([BASE, TOP]), "x:1")
    again = await b.done(await b.pull(top, "again"))
    assert (again["layers-built"], again["layers-reused"]) == (1, 1)
    assert pool.fingerprint(again["volume"], tmp_path) == expected


async def test_layer_that_another_host_removed_during_a_pull_gets_a_record_again(
    pool: PoolOfHosts, registry: FaultyRegistry
) -> None:
    a, b = pool.clients
    await a.done(await a.pull(registry.store(image([BASE]), "base:1"), "base"))
    await listed(b, {"base"})
    source = registry.store(image([BASE, TOP]), "demo:1")
    registry.faults["1"] = Fault.HANG
    job = await a.pull(source, "demo")
    await resolved(registry, 1)
    # The pull has read the records, and has claimed nothing yet.
    await b.done(await b.remove("base"))
    assert pool.records == {}
    let_through(registry)
    assert (await a.done(job))["layers-built"] == 2
    assert pool.records["layer"] == pool.layers


async def test_host_that_only_reused_layers_can_remove_its_image(
    pool: PoolOfHosts, registry: FaultyRegistry
) -> None:
    a, b = pool.clients
    source = registry.store(image([BASE, TOP]), "demo:1")
    await a.done(await a.pull(source, "of-a"))
    reused = await b.done(await b.pull(source, "of-b"))
    assert (reused["layers-built"], reused["layers-reused"]) == (0, 2)
    assert (await a.done(await a.remove("of-a")))["volumes"] == []
    assert (await b.done(await b.remove("of-b")))["volumes"] == reused["volumes"][::-1]
    assert pool.layers == set()


@pytest.mark.parametrize("death", [NamespaceHost.kill_daemon, NamespaceHost.power_off])
async def test_prune_removes_leftovers_of_another_killed_host(
    pool: PoolOfHosts, registry: FaultyRegistry, death: Callable[[NamespaceHost], None]
) -> None:
    a, b = pool.clients
    await b.done(await b.prune())
    await building(pool, registry, [BASE, TOP])
    assert pool.unfinished
    death(a.host)
    await pool.swept_by(b)
    # It belonged to no image yet.
    assert pool.layers == set()


@pytest.mark.parametrize("death", [NamespaceHost.kill_daemon, NamespaceHost.power_off])
async def test_host_takes_over_the_layer_that_a_killed_one_was_building(
    pool: PoolOfHosts, registry: FaultyRegistry, death: Callable[[NamespaceHost], None]
) -> None:
    a, b = pool.clients
    source, _ = await building(pool, registry, [BASE, TOP])
    job = await b.pull(source, "demo")
    await resolved(registry, 2)
    registry.faults.clear()
    death(a.host)
    async with asyncio.timeout(TAKEN_OVER):
        pulled = await b.done(job)
    assert (pulled["layers-built"], pulled["layers-reused"]) == (1, 1)
    assert pool.chain(pulled["volume"]) == pulled["volumes"][::-1]
    assert (await b.images())["demo"].volume == pulled["volume"]
    await pool.swept_by(b)


async def test_host_continues_a_pull_after_a_power_failure(
    pool: PoolOfHosts, registry: FaultyRegistry
) -> None:
    a, _ = pool.clients
    source, _ = await building(pool, registry, [BASE, TOP])
    a.host.power_off()
    let_through(registry)
    a.host.start()
    pulled = await a.done(await a.pull(source, "demo"))
    assert (pulled["layers-built"], pulled["layers-reused"]) == (1, 1)
    await a.done(await a.prune())
    assert pool.unfinished == []


async def test_image_that_another_host_has_removed_is_not_found(
    pool: PoolOfHosts, registry: FaultyRegistry
) -> None:
    a, b = pool.clients
    await a.done(await a.pull(registry.store(image([BASE]), "demo:1"), "demo"))
    await listed(b, {"demo"})
    await b.done(await b.remove("demo"))
    outcome = await a.outcome(await a.remove("demo"))
    assert outcome.error == "ImageNotFound"
    outcome = await a.outcome(await a.create_volume("demo", "machine.qcow2"))
    assert outcome.error == "ImageNotFound"
    assert pool.layers == set()


async def test_volume_is_created_on_the_image_that_another_host_has_just_put_in_its_place(
    pool: PoolOfHosts, registry: FaultyRegistry
) -> None:
    a, b = pool.clients
    await a.done(await a.pull(registry.store(image([BASE]), "demo:1"), "demo"))
    await listed(b, {"demo"})
    pulled = await b.done(await b.pull(registry.store(image([MIDDLE]), "other:1"), "demo"))
    await b.done(await b.prune())
    created = await a.done(await a.create_volume("demo", "machine.qcow2"))
    assert pulled["volume"] in pool.chain(created["volume"])
    assert pool.layers == {pulled["volume"]}
    assert pool.unfinished == []
