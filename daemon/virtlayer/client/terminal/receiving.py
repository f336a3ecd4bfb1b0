# SPDX-License-Identifier: LGPL-2.1-or-later
"""Receives the records of a stream."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from virtlayer.protocol.streams import STREAM, Record, RecordParser

_CHUNK = 64 * 1024


async def received_records(reader: asyncio.StreamReader) -> AsyncGenerator[Record]:
    """Yield the records of a stream until it ends.

    Args:
        reader: Of the socket of OpenStreams.
    """
    parser = RecordParser(STREAM)
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            for record in parser.feed(chunk):
                yield record
