# SPDX-License-Identifier: LGPL-2.1-or-later
"""A shell on a pseudoterminal, typed into as a user would, with the times of what it prints."""

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

ROWS, COLUMNS = 18, 92
_KEY = 0.045
"""Seconds between two keys."""


@dataclass(frozen=True, slots=True)
class Printed:
    """What the terminal got at a time.

    Attributes:
        at: In seconds since the start of the recording.
        data: The bytes.
    """

    at: float
    data: bytes


class Session:
    """A shell with an empty history, whose prompt is ``PROMPT``.

    Args:
        environment: Of the shell.
    """

    PROMPT = "$ "

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.printed: list[Printed] = []
        self._seen = ""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            shell = ["bash", "--noprofile", "--norc", "--noediting", "-i"]
            bare = {"PS1": self.PROMPT, "TERM": "xterm-256color", "HISTFILE": "/dev/null"}
            os.execvpe("bash", shell, {**environment, **bare})  # noqa: S606 - the child of a fork
        size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._terminal)
        os.waitpid(self._pid, 0)

    def type(self, line: str) -> None:
        """Type a line, key by key, and Enter."""
        for key in f"{line}\r":
            os.write(self._terminal, key.encode())
            self._read_for(_KEY)

    def read_until(self, text: str, patience: float) -> None:
        """Record until a text is printed after what was waited for before.

        Args:
            text: What must come.
            patience: In seconds.

        Raises:
            SystemExit: It does not come in time.
        """
        deadline = time.monotonic() + patience
        while text not in self._seen:
            if time.monotonic() > deadline:
                raise SystemExit(f"The terminal does not show {text!r}:\n{self._seen}")
            self._read_for(0.1)
        self._seen = self._seen.partition(text)[2]

    def rest(self, seconds: float) -> None:
        """Record for a time in which the viewer reads."""
        self._read_for(seconds)

    def _read_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._terminal], [], [], left)[0]:
                return
            data = os.read(self._terminal, 65536)
            self.printed.append(Printed(time.monotonic() - self._start, data))
            self._seen += data.decode(errors="replace")
