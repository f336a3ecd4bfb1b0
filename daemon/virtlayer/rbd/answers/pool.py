# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about the pool as a whole."""

import asyncio
import base64
import binascii
import json
import os

from virtlayer.errors import Internal
from virtlayer.protocol import rbd as messages
from virtlayer.protocol.answering import answer
from virtlayer.protocol.calls import Nothing
from virtlayer.protocol.memory_files import received_content
from virtlayer.rbd.answers.answer import Turn
from virtlayer.rbd.cluster import Cluster

_KEY_LIMIT = 1024
"""Bytes of a key in base64."""


async def _open(turn: Turn, request: messages.Open) -> messages.Opened:
    key = _received_key(turn, request)
    turn.holdings.begin_opening()
    cluster = None
    try:
        cluster = await asyncio.to_thread(Cluster.opened, request, key)
    finally:
        turn.holdings.end_opening(cluster)
    return messages.Opened(cluster.fsid, cluster.pool_id)


def _received_key(turn: Turn, request: messages.Open) -> str | None:
    content = received_content(turn.descriptors, _KEY_LIMIT)
    if (content is None) != (request.user is None):
        raise Internal("A user needs a key, and a key needs a user.")
    if content is None:
        return None
    try:
        key = os.pread(content, _KEY_LIMIT, 0).decode("ascii").strip()
        base64.b64decode(key, validate=True)
    except (UnicodeDecodeError, binascii.Error):
        # Not as the cause, which would have it.
        raise Internal("The key is not in base64.") from None
    return key


async def _ping(_turn: Turn, _request: Nothing) -> Nothing:
    return Nothing()


async def _space(turn: Turn, _request: Nothing) -> messages.RbdSpace:
    return await turn.cluster.run(_space_of, turn.cluster)


def _space_of(cluster: Cluster) -> messages.RbdSpace:
    asked = json.dumps({"prefix": "df", "format": "json"})
    status, output, _ = cluster.connection.mon_command(asked, b"")
    available = stored = 0
    if status == 0:
        for pool in json.loads(output)["pools"]:
            if pool["id"] == cluster.pool_id:
                available = pool["stats"]["max_avail"]
                stored = pool["stats"].get("stored", 0)
    return messages.RbdSpace(capacity=available + stored, available=available)


ANSWERS = (
    answer(messages.OPEN, _open, takes_descriptors=True),
    answer(messages.PING, _ping),
    answer(messages.SPACE, _space),
)
