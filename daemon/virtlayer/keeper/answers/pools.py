# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about pools and volumes; the other end is ``service.keeper.pools``."""

import asyncio
import os
from collections.abc import Collection, Mapping

from virtlayer.errors import InUse, PoolNotFound, VirtlayerError
from virtlayer.keeper.answers.answer import Turn
from virtlayer.keeper.answers.holdings import Survey
from virtlayer.keeper.connection import Connection
from virtlayer.keeper.domains.local_files import sweep_local_files
from virtlayer.keeper.domains.removal import sweep_domains
from virtlayer.keeper.kinds.kind import Lock
from virtlayer.keeper.pool_states import pool_states
from virtlayer.keeper.xml import parse_pool
from virtlayer.protocol import calls
from virtlayer.protocol.answering import answer
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Usage

_SURVEY_SECONDS = 10.0
"""How long a deletion may rely on an earlier survey: the service decides in between."""


async def pool_of(turn: Turn, uuid: str) -> Pool:
    """The pool that a request is about, as libvirt described it to this process.

    Raises:
        PoolNotFound: There is no such pool.
        PoolUnsupported: Its volumes are not files in a directory.
    """
    known = turn.holdings.pools
    if uuid not in known:
        known[uuid] = parse_pool(await turn.hypervisor.call(_described, uuid))
    return known[uuid]


async def found_pool(turn: Turn, name: str) -> Pool:
    """Look up an active pool by its name; see ``Pools.get``."""
    pool = await turn.pools.get(name)
    turn.holdings.pools[pool.uuid] = pool
    return pool


async def active_pool_of(turn: Turn, uuid: str) -> Pool:
    """The pool that a request is about, as libvirt describes it now.

    The directory of a pool that was undefined or stopped may have another purpose by now.

    Raises:
        PoolNotFound: There is no such pool.
        PoolUnsupported: Its volumes are not files in a directory.
        PoolInactive: It is not started.
    """
    name = (await pool_of(turn, uuid)).name
    pool = await turn.pools.get(name)
    if pool.uuid != uuid:
        raise PoolNotFound(f'The pool "{name}" was redefined during the job. Try again.')
    turn.holdings.pools[uuid] = pool
    return pool


async def _hello(_turn: Turn, _request: calls.Nothing) -> calls.Hello:
    return calls.Hello(root=os.geteuid() == 0)


async def _list_pools(turn: Turn, _request: calls.Nothing) -> calls.PoolStates:
    return calls.PoolStates(tuple(await turn.hypervisor.call(pool_states)))


async def _find_pool(turn: Turn, request: calls.NamedPool) -> Pool:
    return await found_pool(turn, request.name)


async def _find_volumes(turn: Turn, request: calls.FindVolumes) -> calls.Volumes:
    pool = await pool_of(turn, request.pool)
    kind = turn.kinds.of(pool)
    if request.names is None:
        return calls.Volumes(tuple(await kind.all_volumes(pool, refresh=request.refresh)))
    return calls.Volumes(tuple(await kind.volumes(pool, request.names, refresh=request.refresh)))


async def _find_files(turn: Turn, request: calls.NamedFiles) -> calls.Files:
    pool = await pool_of(turn, request.pool)
    return calls.Files(await turn.kinds.of(pool).find(pool, request.names))


async def _space(turn: Turn, request: calls.KnownPool) -> calls.Bytes:
    pool = await pool_of(turn, request.pool)
    return calls.Bytes(await turn.kinds.of(pool).space(pool))


async def _users(turn: Turn, request: calls.Layers) -> Usage:
    return await _survey(turn, await pool_of(turn, request.pool), request.names)


async def _delete(turn: Turn, request: calls.Delete) -> calls.Deleted:
    """Delete volumes one after the other, up to the first that cannot be deleted.

    What the service says about their users is not trusted: they are determined here.
    """
    pool = await pool_of(turn, request.pool)
    lock = turn.holdings.lock(request.lock, pool)
    async with lock.in_use:
        return await _delete_all(turn, pool, request.names, lock)


async def _delete_all(turn: Turn, pool: Pool, names: tuple[str, ...], lock: Lock) -> calls.Deleted:
    claimed = lock.claimed()
    usage, overlays = None, _Overlays({})
    deleted: list[str] = []
    layers = tuple(filter(is_layer_volume, names))
    for name in names:
        try:
            check_unclaimed(pool, name, claimed)
            if is_layer_volume(name):
                # Deleting many volumes takes long, and the earlier survey becomes outdated.
                recent = await _recent_usage(turn, pool, layers, lock)
                if recent is not usage:
                    usage, overlays = recent, _overlays(recent)
                _check_unused(pool, name, usage, overlays)
            else:
                await _check_unused_now(turn, pool, name)
            await turn.kinds.of(pool).delete(lock, name)
        except VirtlayerError as error:
            return calls.Deleted(tuple(deleted), error.name, error.message)
        overlays.discard(name)
        deleted.append(name)
    return calls.Deleted(tuple(deleted), "", "")


async def _sweep(turn: Turn, request: calls.KnownPool) -> calls.Swept:
    pool = await active_pool_of(turn, request.pool)
    swept = await turn.kinds.of(pool).sweep(pool)
    await sweep_domains(turn.domains, turn.kinds.of(pool), pool)
    if pool.is_rbd:
        await sweep_local_files(turn.hypervisor, turn.kinds.local_files)
    return calls.Swept(swept)


async def _survey(turn: Turn, pool: Pool, layers: tuple[str, ...]) -> Usage:
    at, placements = asyncio.get_running_loop().time(), turn.pools.placements
    usage = await turn.kinds.of(pool).users(pool, layers, of=layers)
    turn.holdings.surveys[pool.uuid] = Survey(usage, at, placements)
    return usage


async def _check_unused_now(turn: Turn, pool: Pool, name: str) -> None:
    """Check that nothing uses a volume that is not a layer; an earlier survey is not used.

    Unlike a layer, it cannot be built again.
    """
    usage = await turn.kinds.of(pool).users(pool, None, of=(name,))
    _check_unused(pool, name, usage, _overlays(usage))


async def check_layer_unused(turn: Turn, pool: Pool, name: str) -> None:
    """Check that nothing uses a layer now.

    Raises:
        InUse: Something does, or that cannot be determined.
        VirtlayerError: libvirt cannot look at the pool.
    """
    usage = await turn.kinds.of(pool).users(pool, (name,), of=(name,))
    _check_unused(pool, name, usage, _overlays(usage))


def check_unclaimed(pool: Pool, name: str, claimed: Collection[str]) -> None:
    """Check that no running job has claimed a layer.

    Args:
        pool: The pool.
        name: The layer.
        claimed: What is claimed there, while the pool is locked.

    Raises:
        InUse: One does.
    """
    if name in claimed:
        raise InUse(
            f'The volume {name} in the pool "{pool.name}" is used by a running job, on this host '
            "or another one. Try again when that job has ended."
        )


async def _recent_usage(turn: Turn, pool: Pool, layers: tuple[str, ...], lock: Lock) -> Usage:
    survey = turn.holdings.surveys.get(pool.uuid)
    if (
        survey
        # Until then, jobs of other hosts could place what needs a layer, and end.
        and survey.at >= lock.taken_at
        and asyncio.get_running_loop().time() - survey.at < _SURVEY_SECONDS
        and survey.placements == turn.pools.placements
    ):
        return survey.usage
    return await _survey(turn, pool, layers)


class _Overlays:
    """Which volumes of a pool are directly based on each other.

    Args:
        bases: For each volume that is based on another one of the pool, the name of that.
    """

    def __init__(self, bases: Mapping[str, str]) -> None:
        self._bases = bases
        self._overlays: dict[str, set[str]] = {}
        for name, base in bases.items():
            self._overlays.setdefault(base, set()).add(name)

    def of(self, name: str) -> list[str]:
        """Return the volumes that are based on a volume."""
        return sorted(self._overlays.get(name, ()))

    def discard(self, name: str) -> None:
        """Leave out a volume that was deleted."""
        if name in self._bases:
            self._overlays[self._bases[name]].discard(name)


def _overlays(usage: Usage) -> _Overlays:
    volumes = usage.volumes.items()
    return _Overlays({name: one.backing for name, one in volumes if one.backing is not None})


def _check_unused(pool: Pool, name: str, usage: Usage, overlays: _Overlays) -> None:
    users = [*usage.users.get(name, ())]
    users += [f'the volume "{other}" in "{pool.name}"' for other in overlays.of(name)]
    if users:
        raise InUse(
            f'The volume {name} in the pool "{pool.name}" is used by {users[0]}. Delete or change '
            "that first."
        )


def _described(connection: Connection, uuid: str) -> str:
    text: str = connection.storagePoolLookupByUUIDString(uuid).XMLDesc()
    return text


ANSWERS = (
    answer(calls.HELLO, _hello),
    answer(calls.LIST_POOLS, _list_pools),
    answer(calls.FIND_POOL, _find_pool),
    answer(calls.FIND_VOLUMES, _find_volumes),
    answer(calls.FIND_FILES, _find_files),
    answer(calls.SPACE, _space),
    answer(calls.USERS, _users),
    answer(calls.DELETE, _delete),
    answer(calls.SWEEP, _sweep),
)
