# SPDX-License-Identifier: LGPL-2.1-or-later
"""What other hosts have to know about a process that uses a pool: its entry in the pool's table."""

import json
import re
from dataclasses import dataclass

from virtlayer.printable import printable

_ADDRESS = re.compile(r"(?:v[12]:)?((?:\[[0-9a-f:.]{2,45}\]|[0-9.]{7,15}):[0-9]{1,5}/[0-9]{1,10})")
_ADDRESSES = 8
_ENTRY_LIMIT = 4096
_HOST_LIMIT = 255


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """A process.

    Attributes:
        addresses: The addresses of its connection to the cluster, as ``osd blocklist add`` takes
            them. Each has a nonce, so that it is that of no other process.
        host: The name of its host, for messages.
        pid: Its number there, for messages.
    """

    addresses: tuple[str, ...]
    host: str
    pid: int

    def encoded(self) -> bytes:
        """The value in the table."""
        content = {"addresses": self.addresses, "host": self.host[:_HOST_LIMIT], "pid": self.pid}
        return json.dumps(content).encode()

    def __str__(self) -> str:
        return printable(f"process {self.pid} on host {self.host}")


def decode_entry(value: bytes) -> ProcessEntry | None:
    """Return the entry in a value that another host has written; None if it is invalid."""
    if len(value) > _ENTRY_LIMIT:
        return None
    try:
        match json.loads(value):
            case {"addresses": [str(), *_] as addresses, "host": str(host), "pid": int(pid)}:
                pass
            case _:
                return None
    except (ValueError, RecursionError):
        return None
    are_valid = all(isinstance(one, str) and _ADDRESS.fullmatch(one) for one in addresses)
    if not are_valid or len(addresses) > _ADDRESSES or len(host) > _HOST_LIMIT:
        return None
    return ProcessEntry(tuple(addresses), host, pid)


def addresses_in(text: str) -> tuple[str, ...]:
    """The addresses of a connection, as librados prints them."""
    return tuple(_ADDRESS.findall(text))
