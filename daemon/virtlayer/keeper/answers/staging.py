# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about staging directories and about placing volumes in pools.

The other end is ``service.keeper.staging``.
"""

import contextlib
import functools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal
from virtlayer.keeper.answers.answer import Turn
from virtlayer.keeper.answers.holdings import Staging
from virtlayer.keeper.answers.pools import (
    active_pool_of,
    check_layer_unused,
    check_unclaimed,
    pool_of,
)
from virtlayer.protocol import calls
from virtlayer.protocol.answering import answer
from virtlayer.protocol.boot_names import is_boot_volume
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.memory_files import received_content
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RECORD_LIMIT


async def _stage(turn: Turn, request: calls.Stage) -> calls.Staged:
    pool = await active_pool_of(turn, request.pool)
    return await staged(turn, pool, request.claim, request.purpose)


async def staged(turn: Turn, pool: Pool, number: int, purpose: Purpose) -> calls.Staged:
    """Make a staging directory.

    Args:
        turn: The request.
        pool: The pool, which is active.
        number: The number of the claim that it belongs to.
        purpose: What is made there.

    Raises:
        VirtlayerError: There is no such claim, or it cannot be made.
    """
    with turn.holdings.making_staging():
        claim = turn.holdings.claim(number, pool)
        async with AsyncExitStack() as life:
            place = await life.enter_async_context(turn.kinds.of(pool).stage(claim, purpose))
            staging = Staging(pool, number, purpose, place, life.pop_all())
        return calls.Staged(turn.holdings.add_staging(staging), place.direct)


async def _link(turn: Turn, request: calls.Link) -> calls.Linked:
    staging = turn.holdings.staging(request.staging)
    return calls.Linked(await staging.place.link(request.names))


async def _flush(turn: Turn, request: calls.Flush) -> calls.Nothing:
    await flush_staged(turn.holdings.staging(request.staging), request.file)
    return calls.Nothing()


async def flush_staged(staging: Staging, file: str) -> None:
    """Check a finished file or directory of a staging directory, and flush it.

    Args:
        staging: The staging directory.
        file: The file's name there.

    Raises:
        VirtlayerError: It is not finished, or not what it should be, or the pool is full.
    """
    if staging.purpose is not Purpose.LAYERS:
        # A program that still runs could change the file or directory later, or pass it on.
        if staging.programs or staging.starting:
            raise Internal("What is to be finished is still being written.")
        staging.is_closed = True
    await staging.place.flush(file)


async def _place(turn: Turn, request: calls.Place) -> calls.Placed:
    staging = turn.holdings.staging(request.staging)
    fits = (
        is_layer_volume(request.name) == (staging.purpose is Purpose.LAYERS),
        is_boot_volume(request.name) == (staging.purpose is Purpose.BOOT),
        # A record of what a machine boots with is not about one volume.
        not (turn.descriptors and staging.purpose is Purpose.BOOT),
    )
    if not all(fits):
        raise Internal(f'A volume for the purpose {staging.purpose} cannot be "{request.name}".')
    claim = turn.holdings.claim(staging.claim, staging.pool)
    record = received_content(turn.descriptors, RECORD_LIMIT)
    placed = await staging.place.place(request.file, request.name, record)
    turn.pools.placements += 1
    turn.holdings.add_placed(claim, placed)
    if request.build is not None:
        claim.end_build(request.build)
    stamp = None if placed.record is None else placed.record.stamp
    _, inode = placed.identity
    return calls.Placed(request.name, placed.ours, inode, stamp)


async def _register(turn: Turn, request: calls.Register) -> calls.Volumes:
    pool = await pool_of(turn, request.pool)
    expected = {turn.holdings.placed(pool, one.name): one for one in request.volumes}
    removing = functools.partial(_removing, turn, pool)
    found = await turn.kinds.of(pool).register(pool, expected, removing)
    return calls.Volumes(tuple(found.values()))


async def _withdraw(turn: Turn, request: calls.Withdraw) -> calls.Nothing:
    pool = await pool_of(turn, request.pool)
    placed = turn.holdings.placed(pool, request.name)
    if placed.ours:
        async with _removing(turn, pool, request.name):
            await turn.kinds.of(pool).withdraw(pool, placed)
    return calls.Nothing()


@contextlib.asynccontextmanager
async def _removing(turn: Turn, pool: Pool, name: str) -> AsyncIterator[None]:
    """Allow removal, within the context, of a volume that was placed here; a layer if it is unused.

    Raises:
        InUse: Something uses it, another job has claimed it, or this cannot be determined.
        PoolLocked: Another process has the pool's lock.
        VirtlayerError: libvirt cannot look at the pool.
    """
    if not is_layer_volume(name):
        yield
        return
    lock = await turn.kinds.of(pool).lock(pool)
    try:
        check_unclaimed(pool, name, lock.claimed(but_for=turn.holdings.claim_of_placed(pool, name)))
        await check_layer_unused(turn, pool, name)
        yield
    finally:
        await to_completion(lock.release())


ANSWERS = (
    answer(calls.STAGE, _stage),
    answer(calls.LINK, _link),
    answer(calls.FLUSH, _flush),
    answer(calls.PLACE, _place, takes_descriptors=True),
    answer(calls.REGISTER, _register),
    answer(calls.WITHDRAW, _withdraw),
)
