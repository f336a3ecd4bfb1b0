# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two hosts that share an RBD pool do everything at random, and their processes are killed.

What each client does follows from the seed. SEED=number in the environment sets another.
"""

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.command import Ended, started
from tests.support.faulty_registry import FaultyRegistry
from tests.support.libvirt_host import private_host
from tests.support.pool_user import some_image
from tests.support.rbd_host_process import connected
from tests.support.rbd_user import RbdUser, rbd_daemon, rbd_user
from tests.support.soak import FACTOR
from virtlayer.cancellation import meanwhile, to_completion
from virtlayer.rbd import keys
from virtlayer.rbd.table import PoolTable

_log = logging.getLogger(__name__)

SEED = int(os.environ.get("SEED", "1"))
STEPS = 20 * FACTOR
"""Of each client."""
CLIENTS = 2
"""Of each host."""
PATIENCE = 400.0
IMAGES = {
    "one": ("a", "b", "c"),
    "two": ("a", "b", "d"),
    "three": ("a", "e"),
}
ACTIONS = {"pull": 45, "create": 15, "delete": 15, "remove": 15, "prune": 5, "rescan": 5}


@pytest.fixture
def users(
    ceph: OneNodeCeph,
    pool: CephPool,
    tmp_path: Path,
) -> Iterator[list[RbdUser]]:
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(2):
            host = stack.enter_context(private_host())
            directory = tmp_path / f"host{number}"
            directory.mkdir()
            daemon = stack.enter_context(rbd_daemon(host, directory))
            found.append(rbd_user(ceph, pool, host, daemon))
        yield found


async def run(user: RbdUser, *arguments: str) -> Ended:
    async with started("--user", "--json", *arguments, env=user.daemon.environment) as process:
        async with asyncio.timeout(PATIENCE):
            stdout, stderr = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, stdout.decode(), stderr.decode())


def pool_processes(user: RbdUser) -> list[int]:
    """The processes of RBD pools of a host."""
    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and _is_pool_process(path, user)
    ]


def _is_pool_process(path: Path, user: RbdUser) -> bool:
    with contextlib.suppress(OSError):
        if b"virtlayer.rbd\0" not in (path / "cmdline").read_bytes():
            return False
        parent = path
        for _ in range(6):
            number = (parent / "stat").read_text().rpartition(")")[2].split()[1]
            if int(number) == user.daemon.process.pid:
                return True
            parent = Path("/proc", number)
    return False


def claims_in(pool: CephPool) -> list[str]:
    """What processes have in the table of the pool."""
    with connected(pool) as cluster, cluster.open_ioctx(pool.name) as ioctx:
        found = [key for key, _ in PoolTable(ioctx, pool.name).scan("")]
    prefixes = (keys.CLAIMS, keys.BUILDS, keys.PLACINGS, keys.LOCK)
    return [key for key in found if key.startswith(prefixes)]


class Client:
    """A client of one host."""

    def __init__(
        self, user: RbdUser, name: str, sources: dict[str, str], ends: Counter[str]
    ) -> None:
        self._user = user
        self._name = name
        self._sources = sources
        self._ends = ends
        self._chance = random.Random(f"{SEED} {name}")  # noqa: S311 -- no secret

    async def run(self) -> None:
        """Do all steps."""
        for _ in range(STEPS):
            action = self._chance.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            image = self._chance.choice(list(IMAGES))
            volume = f"v-{self._name}-{self._chance.randrange(2)}"
            pool = self._user.pool
            options = ("--tls-verify=false", f"--name={image}")
            arguments = {
                "pull": ("pull", self._sources[image], pool, *options),
                "create": ("create-volume", image, volume, pool),
                "delete": ("remove-volume", volume, pool),
                "remove": ("remove", image, pool),
                "prune": ("prune", pool),
                "rescan": ("rescan", pool),
            }[action]
            ended = await run(self._user, *arguments)
            self._ends[f"{action} {ended.status}"] += 1
            if ended.status not in (0, 3, 7):
                _log.warning("%s: %s: %s", self._name, arguments, ended.stderr)


async def kill(
    ceph: OneNodeCeph, users: list[RbdUser], chance: random.Random, hits: Counter[str]
) -> None:
    """Kill or stop processes of RBD pools, or kill the OSD, now and then, until cancelled."""
    while True:
        await asyncio.sleep(chance.uniform(5, 40))
        found = pool_processes(chance.choice(users))
        how = chance.choice(("kill", "stop", "OSD"))
        if how == "OSD":
            hits[how] += 1
            await to_completion(asyncio.to_thread(restart_osd, ceph))
            continue
        if not found:
            continue
        hits[how] += 1
        number = chance.choice(found)
        with contextlib.suppress(ProcessLookupError):
            if how == "kill":
                os.kill(number, signal.SIGKILL)
                continue
            os.kill(number, signal.SIGSTOP)
            try:
                await asyncio.sleep(chance.uniform(30, 90))
            finally:
                os.kill(number, signal.SIGCONT)


def restart_osd(ceph: OneNodeCeph) -> None:
    """Kill the OSD, and start it again."""
    with ceph.osd_killed():
        time.sleep(5)


async def test_two_hosts_do_everything_and_are_killed(
    ceph: OneNodeCeph,
    users: list[RbdUser],
    pool: CephPool,
    registry: FaultyRegistry,
    tmp_path: Path,
) -> None:
    sources = {
        name: registry.store(some_image(*words), f"{name}:1") for name, words in IMAGES.items()
    }
    ends: Counter[str] = Counter()
    clients = [
        Client(user, f"{number}-{client}", sources, ends)
        for number, user in enumerate(users)
        for client in range(CLIENTS)
    ]
    hits: Counter[str] = Counter()
    async with meanwhile(kill(ceph, users, random.Random(SEED), hits)):  # noqa: S311 -- no secret
        await asyncio.gather(*(client.run() for client in clients))
    _log.warning("Processes: %s; jobs: %s", hits, sorted(ends.items()))
    assert hits
    assert ends["pull 0"] > 0

    # Afterwards, everything works on both hosts, and everything that was begun is gone.
    for user in users:
        for name, source in sources.items():
            ended = await run(
                user, "pull", source, user.pool, "--tls-verify=false", f"--name={name}"
            )
            assert ended.status == 0, ended.stderr
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while left := users[0].unfinished() + claims_in(pool):
        assert asyncio.get_running_loop().time() < deadline, left
        for user in users:
            ended = await run(user, "prune", user.pool)
            assert ended.status == 0, ended.stderr
        await asyncio.sleep(2)
    listed = json.loads((await run(users[0], "images", users[0].pool)).stdout)
    assert {image["name"] for image in listed} == set(IMAGES)
    for image in listed:
        assert users[0].fingerprint(image["volume"], tmp_path)
