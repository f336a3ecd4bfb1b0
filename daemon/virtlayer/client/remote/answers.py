# SPDX-License-Identifier: LGPL-2.1-or-later
"""The answers of a bridge to questions about its host."""

import asyncio
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virtlayer.client.host import ThisHost, journal_command
from virtlayer.client.remote.frames import ProtocolError
from virtlayer.sizes import MIB

_JOURNAL_LIMIT = MIB


async def answer(question: bytes, *, session: bool) -> bytes:
    """Answer a question; see ``OtherHost``.

    Args:
        question: JSON.
        session: Whether the command uses the service of the user.

    Returns:
        JSON.

    Raises:
        ProtocolError: There is no such question.
    """
    try:
        asked: dict[str, Any] = json.loads(question)
        return json.dumps(await _ANSWERS[asked["about"]](ThisHost(session=session), asked)).encode()
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raise ProtocolError("the question about the host is unknown") from None


async def _facts(host: ThisHost, asked: Mapping[str, Any]) -> dict[str, object]:
    found = await host.facts([Path(str(path)) for path in asked["files"]])
    kernel = found.kernel
    initrd = kernel.initrd if kernel else None
    return {
        "architecture": found.architecture,
        "has_kvm": found.has_kvm,
        "kernel": str(kernel.image) if kernel else "",
        "initrd": str(initrd) if initrd else "",
        "existing": [str(path) for path in found.existing],
    }


async def _users(host: ThisHost, asked: Mapping[str, Any]) -> dict[str, object]:
    names = await host.user_names([int(uid) for uid in asked["uids"]])
    return {"names": {str(uid): name for uid, name in names.items()}}


async def _journal(_host: ThisHost, asked: Mapping[str, Any]) -> dict[str, object]:
    pid = None if asked["pid"] is None else int(asked["pid"])
    command = journal_command(int(asked["job"]), pid, as_json=bool(asked["as_json"]))
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SYSTEMD_COLORS": "0"},
        )
    except FileNotFoundError:
        return {"status": None, "text": "", "is_whole": True}
    assert process.stdout is not None, "it is a pipe"
    content = bytearray()
    while len(content) < _JOURNAL_LIMIT and (chunk := await process.stdout.read(_JOURNAL_LIMIT)):
        content += chunk
    is_whole = process.stdout.at_eof()
    if not is_whole:
        process.kill()
    status = await process.wait()
    text = content.decode(errors="replace")
    return {"status": status if is_whole else 0, "text": text, "is_whole": is_whole}


_ANSWERS = {"facts": _facts, "users": _users, "journal": _journal}
