# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a disk that came out of an image is one that a machine may get."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from typing import Any

from virtlayer.errors import Internal, MalformedLayer
from virtlayer.programs import ProgramFailed, running
from virtlayer.protocol.deadlines import QEMU_SECONDS
from virtlayer.worker.disk.header import HEADER_READ, BadDisk, disk_format

_ANSWER_LIMIT = 1024 * 1024


async def inspect_disk(disk: int, description: str) -> str:
    """Look at a disk: its header here, all of it with qemu-img in a sandbox.

    Args:
        disk: A descriptor of the file, which everybody may read; stays the caller's.
        description: The disk as an error should call it, at the beginning of a sentence.

    Returns:
        Its format, qcow2 or raw.

    Raises:
        MalformedLayer: It is no disk, is damaged, or refers to something outside itself.
        Internal: qemu-img did not end, or its answer is invalid.
    """
    try:
        image_format = disk_format(await asyncio.to_thread(os.pread, disk, HEADER_READ, 0))
    except BadDisk as error:
        raise MalformedLayer(f"{description} {error}.") from error
    try:
        answer = await _ask_qemu_img(disk, image_format)
    except ProgramFailed as error:
        raise MalformedLayer(
            f"{description} is no {image_format} that qemu-img can read: {error}."
        ) from error
    except TimeoutError as error:
        raise Internal(
            f"qemu-img did not end within {QEMU_SECONDS:.0f} s while it looked at {description}. "
            "The pool's storage may hang."
        ) from error
    match answer:
        case {"format": str(seen)} if seen == image_format:
            if "backing-filename" in answer or "data-file" in _specific(answer):
                raise MalformedLayer(f"{description} refers to another file.")
            if _specific(answer).get("corrupt"):
                raise MalformedLayer(f"{description} is marked as corrupt.")
            return image_format
        case _:
            raise Internal(f"qemu-img said something senseless about {description}.")


async def _ask_qemu_img(disk: int, image_format: str) -> Any:
    argv = [sys.executable, "-I", "-m", "virtlayer.worker.disk.qemu_img", image_format, str(disk)]
    async with (
        asyncio.timeout(QEMU_SECONDS),
        running(argv, stdout=PIPE, pass_fds=[disk], bare=True) as program,
    ):
        answer = b""
        while chunk := await program.stdout.read(_ANSWER_LIMIT):
            answer += chunk
            if len(answer) > _ANSWER_LIMIT:
                return None
        await program.check()
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _specific(answer: dict[str, Any]) -> dict[str, Any]:
    match answer.get("format-specific"):
        case {"data": dict(data)}:
            return data
        case _:
            return {}
