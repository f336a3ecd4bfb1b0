# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the installed ``virtlayer`` command as a user would: piped, or on a terminal."""

import asyncio
import contextlib
import os
import pty
import sys
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.terminal import converse
from tests.support.waiting import PATIENCE

COMMAND = Path(sys.executable).parent / "virtlayer"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    status: int
    stdout: str
    stderr: str = ""


async def virtlayer(*arguments: str, env: Mapping[str, str], stdin: str = "") -> Ended:
    """Run ``virtlayer`` to its end, with pipes."""
    async with started(*arguments, env=env) as process:
        async with asyncio.timeout(PATIENCE):
            stdout, stderr = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Ended(process.returncode, stdout.decode(), stderr.decode())


@contextlib.asynccontextmanager
async def started(
    *arguments: str, env: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``virtlayer`` with pipes, for as long as the context lasts, or ten minutes, at most."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    overdue = asyncio.get_running_loop().call_later(10 * PATIENCE, process.kill)
    try:
        yield process
    finally:
        overdue.cancel()
        if process.returncode is None:
            process.kill()
        # Reads the pipes to their ends as well, which closes them.
        await process.communicate()


async def virtlayer_on_terminal(
    *arguments: str,
    env: Mapping[str, str],
    answers: Sequence[tuple[str, str]] = (),
    columns: int = 100,
    term: str = "xterm",
    awaited: tuple[str, asyncio.Event] | None = None,
) -> Ended:
    """Run ``virtlayer`` to its end on a terminal; what it prints there is its standard output.

    Args:
        arguments: Of the command line.
        env: Its environment.
        answers: Questions in their order, and what to type when each is asked.
        columns: The width of the terminal, in characters.
        term: The type of the terminal.
        awaited: A text, and the event that is set when it has been printed.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, columns))
    with os.fdopen(ours, "rb+", buffering=0) as terminal:
        process = await asyncio.create_subprocess_exec(
            "setsid",
            "--ctty",
            COMMAND,
            *arguments,
            env={**env, "TERM": term},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        loop = asyncio.get_running_loop()

        def look(printed: bytes) -> None:
            if awaited is not None and awaited[0].encode() in printed:
                loop.call_soon_threadsafe(awaited[1].set)

        reading = asyncio.create_task(
            asyncio.to_thread(converse, terminal.fileno(), answers, PATIENCE, look)
        )
        try:
            async with asyncio.timeout(PATIENCE):
                status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            printed = await reading
        return Ended(status, printed.decode())
