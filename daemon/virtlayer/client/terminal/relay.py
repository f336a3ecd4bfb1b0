# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connects the user's descriptors with a machine, until its command ends or the user leaves."""

import asyncio
import contextlib
import os
import socket

from virtlayer.cancellation import meanwhile
from virtlayer.client.terminal.ending import Ending
from virtlayer.client.terminal.input import Sender, send_content, send_typed
from virtlayer.client.terminal.printer import LocalStreams, Printer
from virtlayer.client.terminal.raw import raw_terminal
from virtlayer.client.terminal.receiving import received_records
from virtlayer.client.terminal.signals import Signals
from virtlayer.protocol.streams import Record, RecordKind

FAILED = 125
"""The exit status of podman and docker if they fail themselves."""
_POWER_OFF_SECONDS = 20
"""Seconds that a machine may take to power off after its command has ended."""
_CRASHED = b"crashed"


async def relay(
    stream: socket.socket, local: LocalStreams, *, has_terminal: bool, has_own_init: bool
) -> Ending:
    """Pass output, input and signals on until the machine ends.

    If the machine has a terminal and the input is one as well, it is raw meanwhile, and Ctrl-]
    leaves. Signals go to the entrypoint; the third SIGINT or SIGTERM leaves.

    Args:
        stream: The socket of OpenStreams; it is closed in the end.
        local: The descriptors of the user.
        has_terminal: Whether the entrypoint has a terminal.
        has_own_init: Whether the image's own init runs: it has no exit status, and gets no signals.

    Returns:
        How it ended.

    Raises:
        BrokenPipeError: The reader of the user's output has ended.
        InvalidArgument: The output cannot be written, or the input cannot be read.
    """
    reader, writer = await asyncio.open_unix_connection(sock=stream)
    sender = Sender(writer)
    keyboard = screen = None
    if has_terminal:
        keyboard = local.stdin if _is_terminal(local.stdin) else None
        screen = local.stdout if keyboard is None else keyboard
    printer = Printer(local, is_raw=keyboard is not None)
    receiver = _Receiver(printer, has_own_init=has_own_init)
    try:
        with contextlib.ExitStack() as context:
            if keyboard is not None:
                context.enter_context(raw_terminal(keyboard))
            signals = Signals(sender, keyboard=keyboard, screen=screen, forwards=not has_own_init)
            context.enter_context(signals.handled())
            async with (
                meanwhile(receiver.run(reader)) as receiving,
                meanwhile(_send_input(local.stdin, sender, keyboard)) as leaving,
                meanwhile(signals.urgent()) as leaving_by_signal,
            ):
                # The end of the machine counts more than a key at the same time.
                endings = (receiving, leaving, leaving_by_signal)
                await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
                return next(ending for ending in endings if ending.done()).result()
    finally:
        writer.transport.abort()


async def _send_input(stdin: int | None, sender: Sender, keyboard: int | None) -> Ending:
    """Send input; return when the user leaves."""
    if keyboard is not None:
        await send_typed(keyboard, sender)
        return Ending(status=0, is_detached=True)
    if stdin is not None:
        await send_content(stdin, sender)
    never: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
    return await never


class _Receiver:
    """Has the output of a machine printed, and knows how it ended."""

    def __init__(self, printer: Printer, *, has_own_init: bool) -> None:
        self._printer = printer
        self._has_own_init = has_own_init
        self._status: int | None = None

    async def run(self, reader: asyncio.StreamReader) -> Ending:
        """Return how it ended."""
        ending = Ending(
            status=FAILED, message="The stream of the machine ended early: virtlayerd stopped it."
        )
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(None) as patience,
                contextlib.aclosing(received_records(reader)) as records,
            ):
                async for record in records:
                    if record.kind is RecordKind.EXIT:
                        [self._status] = record.content
                        now = asyncio.get_running_loop().time()
                        patience.reschedule(now + _POWER_OFF_SECONDS)
                    elif record.kind is RecordKind.ENDED:
                        ending = self._ended(record)
                        break
                    elif record.kind is RecordKind.BROKEN:
                        message = record.content.decode(errors="replace")
                        ending = Ending(status=FAILED, message=message)
                        break
                    else:
                        await self._printer.write(record)
        return ending if self._status is None else Ending(status=self._status)

    def _ended(self, record: Record) -> Ending:
        if record.content == _CRASHED:
            return Ending(status=FAILED, message="The machine crashed.")
        if self._has_own_init:
            return Ending(status=0)
        return Ending(
            status=FAILED, message="The machine stopped before its command had an exit status."
        )


def _is_terminal(descriptor: int | None) -> bool:
    return descriptor is not None and os.isatty(descriptor)
