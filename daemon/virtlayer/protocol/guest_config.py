# SPDX-License-Identifier: LGPL-2.1-or-later
"""The configuration of our init: a read-only disk (virtio serial number ``virtlayer-config``).

The format is ``MAGIC``, then entries (the length of the key, the key, the length of the value, the
value; lengths are little-endian 32-bit numbers), then a key of length 0, and zeros up to a multiple
of 512 bytes. It can hold secrets in the environment. ``guest/configuration.c`` reads it.
"""

import struct
from dataclasses import dataclass, field

MAGIC = b"VLCONF1\n"
_BLOCK = 512
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestConfig:
    """What our init starts, and how; ``repr()`` shows no secret.

    Attributes:
        arguments: The program and its arguments.
        environment: NAME=VALUE.
        directory: The working directory.
        user: USER, UID, USER:GROUP or UID:GID, looked up in the image; "" for root.
        hostname: The name of the machine; "" to keep the image's.
        terminal: Whether it gets a terminal, not three pipes.
        interactive: Whether its standard input stays open; else it is at its end at once.
        stop_signal: The number of the signal of the first power button.
        dhcp: Whether the network is configured by DHCP.
        is_init: Whether the program is the image's own init, which becomes process 1.
    """

    arguments: tuple[str, ...]
    environment: tuple[str, ...] = field(default=(), repr=False)
    directory: str = "/"
    user: str = ""
    hostname: str = ""
    terminal: bool = False
    interactive: bool = False
    stop_signal: int = 15
    dhcp: bool = True
    is_init: bool = False

    def encoded(self) -> bytes:
        """Return it as the content of the disk."""
        entries = [("argument", argument) for argument in self.arguments]
        entries += [("environment", variable) for variable in self.environment]
        entries += [
            ("directory", self.directory),
            ("user", self.user),
            ("hostname", self.hostname),
            ("terminal", str(int(self.terminal))),
            ("interactive", str(int(self.interactive))),
            ("stop-signal", str(self.stop_signal)),
            ("dhcp", str(int(self.dhcp))),
            ("init", str(int(self.is_init))),
        ]
        content = MAGIC + b"".join(_text(key) + _text(value) for key, value in entries) + _text("")
        return content + b"\0" * (-len(content) % _BLOCK)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _LENGTH.pack(len(encoded)) + encoded
