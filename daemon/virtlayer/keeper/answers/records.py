# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about the records of pools; the other end is ``service.keeper.records``."""

from virtlayer.keeper.answers.answer import Turn
from virtlayer.keeper.answers.pools import active_pool_of, pool_of
from virtlayer.protocol import calls
from virtlayer.protocol.answering import answer
from virtlayer.protocol.memory_files import received_content
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


async def _list(turn: Turn, request: ListRecords) -> RecordList:
    pool = await active_pool_of(turn, request.pool)
    return await turn.kinds.of(pool).list_records(pool, request.since, request.known)


async def _read(turn: Turn, request: ReadRecords) -> RecordContents:
    pool = await active_pool_of(turn, request.pool)
    found, contents = await turn.kinds.of(pool).read_records(pool, request.files)
    turn.reply_descriptors.append(contents)
    return found


async def _put(turn: Turn, request: PutRecord) -> RecordPut:
    content = received_content(turn.descriptors, RECORD_LIMIT)
    expected, durable = request.expected, request.durable
    # The pool was active when the claim or lock was made; the directory of that one is used.
    pool = await pool_of(turn, request.pool)
    kind, file = turn.kinds.of(pool), record_file(request.kind, request.name)
    if not turn.holdings.has_lock(request.holder):
        claim = turn.holdings.claim(request.holder, pool)
        return await kind.put_record(claim, file, expected, content, durable=durable)
    lock = turn.holdings.lock(request.holder, pool)
    async with lock.in_use:
        return await kind.put_record(lock, file, expected, content, durable=durable)


ANSWERS = (
    answer(calls.LIST_RECORDS, _list),
    answer(calls.READ_RECORDS, _read),
    answer(calls.PUT_RECORD, _put, takes_descriptors=True),
)
