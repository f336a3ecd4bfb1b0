# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about staging directories and how volumes get into pools.

The other end is ``service.keeper.staging``.
"""

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from virtlayer.cancellation import meanwhile, to_completion
from virtlayer.errors import Internal
from virtlayer.keeper.answers.answer import Turn, answer
from virtlayer.keeper.answers.holdings import Staging
from virtlayer.keeper.answers.pools import (
    active_pool_of,
    check_layer_unused,
    check_unclaimed,
    pool_of,
)
from virtlayer.keeper.beneath import (
    OwnedDescriptor,
    make_directory,
    open_beneath,
)
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.claims import Claim
from virtlayer.keeper.kinds.directory.commit import (
    LAYER_MODE,
    Placed,
    flush_volume,
    place_volume,
    register_chain,
    register_volume,
    withdraw_volume,
)
from virtlayer.keeper.kinds.directory.contained import check_contained
from virtlayer.keeper.kinds.directory.directories import flush_directory, place_directory
from virtlayer.keeper.kinds.directory.made import forget_made, note_made
from virtlayer.keeper.kinds.directory.own_images import check_disk, check_overlay
from virtlayer.keeper.kinds.directory.pool_lock import pool_locked
from virtlayer.keeper.kinds.directory.records import NewRecord, delete_record
from virtlayer.keeper.kinds.directory.safe_places import check_place
from virtlayer.keeper.kinds.directory.staging import (
    StagingDirectory,
    link_chain,
    staging_directory,
)
from virtlayer.keeper.memory_files import received_content
from virtlayer.keeper.users import layer_readers, qemu_uid
from virtlayer.protocol import calls
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.programs import STAGED_DIRECTORY, STAGED_DISK
from virtlayer.protocol.records import RECORD_LIMIT, RecordKind, record_file

_VOLUME_MODE = 0o600
"""For its owner alone: root, whom libvirt exchanges for QEMU's user while a machine runs, or in
session mode the user, who is QEMU's user as well. What is in it may be secret."""
DIRECTORY_PURPOSES = (Purpose.DIRECTORY, Purpose.CONTAINED_DIRECTORY)
_RECORD_KINDS = {
    Purpose.LAYERS: RecordKind.LAYER,
    Purpose.VOLUME: RecordKind.VOLUME,
    Purpose.DISK: RecordKind.DISK,
    Purpose.DIRECTORY: RecordKind.DIRECTORY,
    Purpose.CONTAINED_DIRECTORY: RecordKind.DIRECTORY,
}
"""What the record of a volume is about."""
QEMU_PURPOSES = (Purpose.LAYERS, Purpose.VOLUME)
"""What QEMU's programs write: the staging directory is their user's."""


async def _stage(turn: Turn, request: calls.Stage) -> calls.Staged:
    with turn.holdings.making_staging():
        return await _staged(turn, request)


async def _staged(turn: Turn, request: calls.Stage) -> calls.Staged:
    pool = await active_pool_of(turn, request.pool)
    claim = turn.holdings.claim(request.claim, pool)
    purpose = request.purpose
    if purpose in DIRECTORY_PURPOSES and os.geteuid() == 0:
        contained = purpose is Purpose.CONTAINED_DIRECTORY
        await check_place(pool, others_may_enter=contained)
    owner = qemu_uid() if purpose in QEMU_PURPOSES else None
    async with AsyncExitStack() as life:
        directory = await life.enter_async_context(
            staging_directory(turn.pools, claim, owner=owner)
        )
        staging = Staging(pool, request.claim, purpose, directory, life)
        if purpose in QEMU_PURPOSES:
            # A libvirtd that has never looked at its QEMU takes seconds: ask meanwhile.
            finding = meanwhile(layer_readers(turn.pools))
            staging.readers = await life.enter_async_context(finding)
        if purpose not in QEMU_PURPOSES:
            staging.output = await _output(pool, directory, purpose)
        staging.life = life.pop_all()
    return calls.Staged(turn.holdings.add_staging(staging), directory.direct)


async def _link(turn: Turn, request: calls.Link) -> calls.Linked:
    staging = turn.holdings.staging(request.staging)
    try:
        name = await asyncio.to_thread(
            link_chain, staging.directory, request.names, readers=await _readers_of(staging)
        )
        return calls.Linked(name)
    except OSError as error:
        raise refused_by_system(error, staging.pool.name, staging.pool.path) from error


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
        # What it has of the file or directory, a program could change later, or pass on.
        if staging.programs or staging.starting:
            raise Internal("What is to be finished is still being written.")
        staging.is_closed = True
    if staging.purpose in DIRECTORY_PURPOSES:
        assert staging.output is not None
        if staging.purpose is Purpose.CONTAINED_DIRECTORY and os.geteuid() == 0:
            await check_contained(staging.output)
        await flush_directory(staging.output)
        staging.is_finished = True
        return
    mode, group = _VOLUME_MODE, None
    if staging.purpose is Purpose.LAYERS:
        mode, group = LAYER_MODE, await _readers_of(staging)
    flushed = await flush_volume(staging.pool, staging.directory, file, mode=mode, group=group)
    if file in staging.flushed:
        flushed.close()
        raise Internal(f"The file {file} was flushed before.")
    staging.flushed[file] = flushed


async def _place(turn: Turn, request: calls.Place) -> calls.Placed:
    staging = turn.holdings.staging(request.staging)
    if is_layer_volume(request.name) != (staging.purpose is Purpose.LAYERS):
        raise Internal(f'A volume for the purpose {staging.purpose} cannot be "{request.name}".')
    claim = turn.holdings.claim(staging.claim, staging.pool)
    record = _record_of(turn, staging.purpose, claim, request.name)
    if staging.purpose in DIRECTORY_PURPOSES:
        assert staging.output is not None
        if not staging.is_finished:
            raise Internal("The directory was not flushed.")
        staging.is_finished = False
        placed = await place_directory(
            staging.pool, staging.directory, STAGED_DIRECTORY, staging.output, request.name, record
        )
    else:
        try:
            flushed = staging.flushed.pop(request.file)
        except KeyError:
            raise Internal(f"The file {request.file} was not flushed.") from None
        with flushed:
            check = check_overlay if staging.purpose in QEMU_PURPOSES else check_disk
            placed = await place_volume(staging.pool, flushed, request.name, check, record)
    if placed.ours and staging.purpose is not Purpose.LAYERS:
        await to_completion(asyncio.to_thread(note_made, claim.own, request.name))
    turn.pools.placements += 1
    turn.holdings.add_placed(claim, placed)
    if request.build is not None:
        claim.end_build(request.build)
    return calls.Placed(request.name, placed.ours, placed.record)


def _record_of(turn: Turn, purpose: Purpose, claim: Claim, name: str) -> NewRecord | None:
    """The record that came with a volume."""
    content = received_content(turn.descriptors, RECORD_LIMIT)
    if content is None:
        return None
    return NewRecord(claim.own, claim.name, record_file(_RECORD_KINDS[purpose], name), content)


async def _register_volume(turn: Turn, request: calls.RegisterVolume) -> calls.Volumes:
    pool = await pool_of(turn, request.pool)
    volume = await register_volume(
        turn.pools,
        pool,
        _placed_here(turn, pool, request.name),
        expected_backing=_path(pool, request.backing),
        formats=request.formats,
    )
    return calls.Volumes((volume,))


async def _register_chain(turn: Turn, request: calls.RegisterChain) -> calls.Volumes:
    pool = await pool_of(turn, request.pool)
    chain = {
        _placed_here(turn, pool, link.name): _path(pool, link.backing) for link in request.chain
    }
    removing = functools.partial(_removing_layer, turn, pool)
    found = await register_chain(turn.pools, pool, chain, removing)
    return calls.Volumes(tuple(found.values()))


async def _withdraw(turn: Turn, request: calls.Withdraw) -> calls.Nothing:
    pool = await pool_of(turn, request.pool)
    placed = _placed_here(turn, pool, request.name)
    if not placed.ours:
        return calls.Nothing()
    if is_layer_volume(request.name):
        async with _removing_layer(turn, pool, request.name):
            await withdraw_volume(turn.pools, pool, placed)
    else:
        await withdraw_volume(turn.pools, pool, placed)
        await to_completion(asyncio.to_thread(forget_made, pool, request.name))
    return calls.Nothing()


@contextlib.asynccontextmanager
async def _removing_layer(turn: Turn, pool: Pool, name: str) -> AsyncIterator[None]:
    """Remove a layer that was placed here within the context, if nothing uses it; and its record.

    Raises:
        InUse: Something does, or another job counts on it, or that cannot be determined.
        PoolLocked: Another process has the pool's lock.
        VirtlayerError: libvirt cannot look at the pool.
    """
    async with pool_locked(pool) as lock:
        check_unclaimed(pool, name, lock.claimed(but_for=turn.holdings.claim_of_placed(pool, name)))
        await check_layer_unused(turn, pool, name)
        yield
        record = record_file(RecordKind.LAYER, name)
        await to_completion(asyncio.to_thread(delete_record, pool, record))


async def _readers_of(staging: Staging) -> int | None:
    # One request's cancellation is not that of the others.
    return None if staging.readers is None else await asyncio.shield(staging.readers)


def _placed_here(turn: Turn, pool: Pool, name: str) -> Placed:
    """What this connection has placed under a name; whether it is ours is known here, too."""
    return turn.holdings.placed(pool, name)


def _path(pool: Pool, name: str | None) -> Path | None:
    return None if name is None else pool.path / name


async def _output(pool: Pool, directory: StagingDirectory, purpose: Purpose) -> OwnedDescriptor:
    """Make what a worker writes, and open it."""
    try:
        # In a thread: the pool's file system may not answer.
        return await asyncio.to_thread(_made_output, directory.descriptor, purpose)
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error


def _made_output(directory: int, purpose: Purpose) -> OwnedDescriptor:
    if purpose in DIRECTORY_PURPOSES:
        return OwnedDescriptor(make_directory(directory, STAGED_DIRECTORY))
    assert purpose is Purpose.DISK
    new = os.O_RDWR | os.O_CREAT | os.O_EXCL
    return OwnedDescriptor(open_beneath(directory, STAGED_DISK, new, 0o600))


ANSWERS = (
    answer(calls.STAGE, _stage),
    answer(calls.LINK, _link),
    answer(calls.FLUSH, _flush),
    answer(calls.PLACE, _place, takes_descriptors=True),
    answer(calls.REGISTER_VOLUME, _register_volume),
    answer(calls.REGISTER_CHAIN, _register_chain),
    answer(calls.WITHDRAW, _withdraw),
)
