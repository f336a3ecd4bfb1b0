# SPDX-License-Identifier: LGPL-2.1-or-later
"""The user's terminal while a machine has it: raw, and restored in the end."""

import contextlib
import os
import signal
import termios
import tty
from collections.abc import Iterator

from virtlayer.protocol.streams import WINDOW, Record, RecordKind

_SIZE_LIMIT = 65535


@contextlib.contextmanager
def raw_terminal(descriptor: int) -> Iterator[None]:
    """Pass every key to the machine, not to the terminal's driver, until the context ends.

    Args:
        descriptor: The terminal.
    """
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        # The shell may have the terminal, which would stop a process that changes it.
        handler = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        # It may have been closed.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTTOU, handler)


def make_raw_again(descriptor: int) -> None:
    """Make it raw after the shell has had it: this process was stopped and continued."""
    with contextlib.suppress(termios.error):
        tty.setraw(descriptor, termios.TCSADRAIN)


def window_size(descriptor: int) -> Record | None:
    """Return the record of a terminal's size; None if it has none."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return None
    rows, columns = min(size.lines, _SIZE_LIMIT), min(size.columns, _SIZE_LIMIT)
    return Record(RecordKind.WINDOW_SIZE, WINDOW.pack(rows, columns))
