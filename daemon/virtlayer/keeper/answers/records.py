# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about the records of pools; the other end is ``service.keeper.records``."""

import asyncio
import functools
import os

from virtlayer.cancellation import to_completion
from virtlayer.keeper.answers.answer import Turn, answer
from virtlayer.keeper.answers.pools import active_pool_of, pool_of
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.own_directory import OwnDirectory
from virtlayer.keeper.kinds.directory.pool_lock import under_lock
from virtlayer.keeper.kinds.directory.records import list_records, put_record, read_records
from virtlayer.keeper.memory_files import received_content
from virtlayer.protocol import calls
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import (
    RECORD_LIMIT,
    ListRecords,
    PutRecord,
    ReadRecords,
    RecordContents,
    RecordList,
    RecordPut,
    record_file,
)

_NO_CLAIM = "lock"
"""Who writes a record with the pool's lock: no claim is called so."""


async def _list(turn: Turn, request: ListRecords) -> RecordList:
    pool = await active_pool_of(turn, request.pool)
    try:
        return await asyncio.to_thread(list_records, pool, request.since)
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error


async def _read(turn: Turn, request: ReadRecords) -> RecordContents:
    pool = await active_pool_of(turn, request.pool)
    try:
        found, contents = await asyncio.to_thread(read_records, pool, request.files)
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error
    turn.reply_descriptors.append(os.dup(contents))
    return found


async def _put(turn: Turn, request: PutRecord) -> RecordPut:
    content = received_content(turn.descriptors, RECORD_LIMIT)
    # That it is active was seen when the claim or the lock was made, whose directory is used.
    pool = await pool_of(turn, request.pool)
    file = record_file(request.kind, request.name)
    if turn.holdings.has_lock(request.holder):
        lock = turn.holdings.lock(request.holder, pool)
        async with lock.in_use:
            return await _in_thread(pool, lock.own, file, request, content)
    claim = turn.holdings.claim(request.holder, pool)

    def put(own: OwnDirectory) -> RecordPut:
        return put_record(own, claim.name, file, request.expected, content)

    return await under_lock(claim.own, put)


async def _in_thread(
    pool: Pool, own: OwnDirectory, file: str, request: PutRecord, content: int | None
) -> RecordPut:
    put = functools.partial(put_record, own, _NO_CLAIM, file, request.expected, content)
    try:
        return await to_completion(asyncio.to_thread(put))
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error


ANSWERS = (
    answer(calls.LIST_RECORDS, _list),
    answer(calls.READ_RECORDS, _read),
    answer(calls.PUT_RECORD, _put, takes_descriptors=True),
)
