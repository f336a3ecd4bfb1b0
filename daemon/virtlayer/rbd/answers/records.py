# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about the records of the pool."""

import os

from virtlayer.protocol import rbd as messages
from virtlayer.protocol.answering import answer
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.memory_files import new_memory_file, received_content, seal
from virtlayer.protocol.records import RECORD_LIMIT, RecordContents, RecordList, RecordPut
from virtlayer.rbd.answers.answer import Turn
from virtlayer.rbd.records import list_records, put_record, read_records
from virtlayer.rbd.table import PoolTable


async def _list(turn: Turn, request: messages.ListRecords) -> RecordList:
    return await turn.cluster.run(list_records, turn.holdings.claims.table, request.since)


async def _read(turn: Turn, request: messages.ReadRecords) -> RecordContents:
    found, contents = await turn.cluster.run(
        _read_sealed, turn.holdings.claims.table, request.files
    )
    turn.reply_descriptors.append(os.dup(contents))
    return found


def _read_sealed(
    table: PoolTable, files: tuple[str, ...]
) -> tuple[RecordContents, OwnedDescriptor]:
    found, contents = read_records(table, files)
    memory = new_memory_file()
    with open(memory, "wb", closefd=False) as file:
        file.writelines(contents)
    seal(memory)
    return found, memory


async def _put(turn: Turn, request: messages.PutRecord) -> RecordPut:
    content = received_record(turn)
    claims = turn.holdings.claims
    holder = claims.holder(request.holder)
    return await turn.cluster.run(
        put_record, claims.table, holder, request.file, request.expected, content
    )


def received_record(turn: Turn) -> bytes | None:
    """The content of a record that came with a request; None if none did.

    Raises:
        Internal: Several did, or it is not a sealed memory file, or too large.
    """
    content = received_content(turn.descriptors, RECORD_LIMIT)
    return None if content is None else os.pread(content, RECORD_LIMIT, 0)


ANSWERS = (
    answer(messages.LIST_RECORDS, _list),
    answer(messages.READ_RECORDS, _read),
    answer(messages.PUT_RECORD, _put, takes_descriptors=True),
)
