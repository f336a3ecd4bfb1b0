# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the records of a machine to the user's descriptors."""

from dataclasses import dataclass

from virtlayer.client.terminal.output import write_all
from virtlayer.printable import printable
from virtlayer.protocol.streams import Record, RecordKind


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStreams:
    """The descriptors of the user. They stay open, and blocking.

    Attributes:
        stdin: What the machine reads; None if it gets no input.
        stdout: Gets the entrypoint's standard output, or its terminal.
        stderr: Gets its standard error.
    """

    stdin: int | None
    stdout: int = 1
    stderr: int = 2


class Printer:
    """Writes output as it is, and what the user should know as lines of virtlayer's own.

    Args:
        local: The descriptors of the user.
        is_raw: Whether the terminal is raw.
    """

    def __init__(self, local: LocalStreams, *, is_raw: bool = False) -> None:
        self._local = local
        self._line_end = "\r\n" if is_raw else "\n"
        self._has_warned = False

    async def write(self, record: Record) -> None:
        """Write a record, if it has something to be written.

        Raises:
            BrokenPipeError: The reader of the user's output has ended.
            InvalidArgument: The output cannot be written.
        """
        match record.kind:
            case RecordKind.STDOUT | RecordKind.TERMINAL:
                await write_all(self._local.stdout, record.content)
            case RecordKind.STDERR:
                await write_all(self._local.stderr, record.content)
            case RecordKind.FAILED:
                await self._tell(record.content.decode(errors="replace"))
            case RecordKind.LOST if not self._has_warned:
                self._has_warned = True
                await self._tell(
                    "warning: Some output is missing: it was invalid, or was written faster than "
                    "it was read."
                )

    async def _tell(self, text: str) -> None:
        line = f"virtlayer: {printable(text)}{self._line_end}"
        await write_all(self._local.stderr, line.encode())
