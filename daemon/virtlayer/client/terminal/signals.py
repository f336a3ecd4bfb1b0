# SPDX-License-Identifier: LGPL-2.1-or-later
"""Signals of the client while it is attached to a machine."""

import asyncio
import contextlib
import functools
import signal
from collections.abc import Callable, Iterator

from virtlayer.client.terminal.ending import Ending
from virtlayer.client.terminal.input import Sender
from virtlayer.client.terminal.raw import make_raw_again, window_size
from virtlayer.protocol.streams import Record, RecordKind

_FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""What the entrypoint gets, as with podman's --sig-proxy."""
_URGENT = 3
"""So many SIGINT or SIGTERM end the client, whatever the machine does, as with docker."""


class Signals:
    """Passes signals and window sizes on to the machine.

    Args:
        sender: Sends records.
        keyboard: The raw terminal of the user; None if there is none.
        screen: The terminal whose size the machine's terminal gets; None if it has none.
        forwards: Whether the entrypoint gets signals; otherwise the first one ends the client.
    """

    def __init__(
        self, sender: Sender, *, keyboard: int | None, screen: int | None, forwards: bool
    ) -> None:
        self._sender = sender
        self._keyboard = keyboard
        self._screen = screen
        self._forwards = forwards
        self._number = 0
        self._leaving: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Send the window's size, and handle signals until the context ends; then as before."""
        handlers: dict[signal.Signals, Callable[[], None]] = {
            number: functools.partial(self._received, number) for number in _FORWARDED
        }
        handlers[signal.SIGWINCH] = self._send_window_size
        handlers[signal.SIGCONT] = self._continued
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in handlers}
        try:
            for number, handler in handlers.items():
                loop.add_signal_handler(number, handler)
            self._send_window_size()
            yield
        finally:
            for number, former in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, former)

    async def urgent(self) -> Ending:
        """Return when signals make the client leave."""
        return await self._leaving

    def _received(self, number: signal.Signals) -> None:
        if number in {signal.SIGINT, signal.SIGTERM}:
            self._number += 1
        has_lost_terminal = number is signal.SIGHUP and self._keyboard is not None
        if not self._forwards or has_lost_terminal or self._number == _URGENT:
            if not self._leaving.done():
                self._leaving.set_result(Ending(status=128 + number, is_detached=True))
            return
        self._sender.send(Record(RecordKind.SIGNAL, bytes([number])))

    def _continued(self) -> None:
        # The shell has had the terminal.
        if self._keyboard is not None:
            make_raw_again(self._keyboard)
        self._send_window_size()

    def _send_window_size(self) -> None:
        if self._screen is not None and (size := window_size(self._screen)) is not None:
            self._sender.send(size)
