# SPDX-License-Identifier: LGPL-2.1-or-later
"""The records of a machine's output, read from its log files."""

from virtlayer.protocol.domains import Port
from virtlayer.protocol.streams import OUTPUT, Record, RecordKind, RecordParser
from virtlayer.service.keeper.domains import Domains
from virtlayer.service.machines.streams.log_follower import LogFollower


class LogRecords:
    """The records of one log of one machine; ``close`` closes its files.

    Args:
        domains: Opens the files.
        uuid: The machine.
        port: OUTPUT for the records of our init; KERNEL_LOG, whose bytes become records TERMINAL.

    Attributes:
        has_exited: Whether the last record is the exit status.
    """

    def __init__(self, domains: Domains, uuid: str, port: Port) -> None:
        self._follower = LogFollower(domains, uuid, port)
        self._parser = RecordParser(OUTPUT) if port is Port.OUTPUT else None
        self.has_exited = False

    async def open(self, tail: int | None) -> None:
        """Open the log.

        Args:
            tail: Begin about so many bytes before the end; None for everything.

        Raises:
            VirtlayerError: The keeper cannot be asked.
        """
        await self._follower.open(tail)
        if self._parser is not None and self._follower.begins_within:
            self._parser = RecordParser(OUTPUT, within=True)

    def close(self) -> None:
        """Close its files."""
        self._follower.close()

    @property
    def exists(self) -> bool:
        """Whether the machine has ever been started."""
        return self._follower.exists

    async def read(self) -> list[Record] | None:
        """Return the next records; None at the end of what there is, for now.

        Raises:
            VirtlayerError: The keeper cannot be asked.
        """
        content = await self._follower.read()
        if content is None:
            return [Record(RecordKind.LOST) if self._parser is None else self._parser.interrupt()]
        if not content:
            return None
        if self._parser is None:
            return [Record(RecordKind.TERMINAL, content)]
        records = self._parser.feed(content)
        if records:
            self.has_exited = records[-1].kind is RecordKind.EXIT
        return records

    async def changed(self) -> None:
        """Wait until there may be something to read."""
        await self._follower.changed()
