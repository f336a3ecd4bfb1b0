# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks whether a machine may get a disk from an image.

A sandboxed process reads the disk's header and then executes qemu-img, which reads all of it. The
process writes ``{"problem": text}`` or the output of qemu-img to its pipe.
"""

import asyncio
import json
import os
from typing import Any

from virtlayer.errors import Internal, MalformedLayer
from virtlayer.programs import ProgramFailed
from virtlayer.protocol.deadlines import QEMU_SECONDS
from virtlayer.protocol.programs import Kind, StartProgram
from virtlayer.service.keeper.programs import Programs

_ANSWER_LIMIT = 1024 * 1024
_FORMATS = ("qcow2", "raw")


async def inspect_disk(staging: Programs, description: str) -> str:
    """Inspect a disk.

    Args:
        staging: The staging directory that has it.
        description: The disk, as named at the beginning of an error message.

    Returns:
        Its format, qcow2 or raw.

    Raises:
        MalformedLayer: It is not a disk image, is damaged, or refers to other files.
        Internal: qemu-img did not end, or its answer is invalid.
    """
    try:
        answer = await _ask_inspector(staging)
    except ProgramFailed as error:
        raise MalformedLayer(
            f"{description} is not a disk image that qemu-img can read: {error}."
        ) from error
    except TimeoutError as error:
        raise Internal(
            f"qemu-img did not end within {QEMU_SECONDS:.0f} s while reading {description}. Check "
            "that the storage of the pool responds."
        ) from error
    match answer:
        case {"problem": str(problem)}:
            raise MalformedLayer(f"{description} {problem}.")
        case {"format": str(image_format)} if image_format in _FORMATS:
            if "backing-filename" in answer or "data-file" in _specific(answer):
                raise MalformedLayer(f"{description} refers to another file.")
            if _specific(answer).get("corrupt"):
                raise MalformedLayer(f"{description} is marked as corrupt.")
            return image_format
        case _:
            raise Internal(f"qemu-img printed invalid JSON for {description}.")


async def _ask_inspector(staging: Programs) -> Any:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reading, "rb", buffering=0) as output:
        try:
            running = staging.running(StartProgram(kind=Kind.DISK_INSPECTOR), [writing])
            async with asyncio.timeout(QEMU_SECONDS), running as program:
                os.close(writing)
                writing = -1
                answer = await _all_of(output)
                await program.check()
        finally:
            if writing >= 0:
                os.close(writing)
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


async def _all_of(output: Any) -> bytes:
    """Return everything from a pipe, or nothing if that is too much."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), output
    )
    try:
        answer = b""
        while chunk := await reader.read(_ANSWER_LIMIT):
            answer += chunk
            if len(answer) > _ANSWER_LIMIT:
                return b""
        return answer
    finally:
        transport.close()


def _specific(answer: dict[str, Any]) -> dict[str, Any]:
    match answer.get("format-specific"):
        case {"data": dict(data)}:
            return data
        case _:
            return {}
