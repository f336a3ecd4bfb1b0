# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages of a bus as bytes, with their descriptors, to be passed on."""

import array
import os
import socket

from virtlayer.dbus.addresses import socket_name
from virtlayer.dbus.received import close_received, receive_with_descriptors
from virtlayer.dbus.structure import FIXED_HEADER, sizes_of
from virtlayer.sizes import KIB, MIB

SIZE_LIMIT = 32 * MIB
"""Bytes of a message that a system bus, as it comes, lets through."""
_CHUNK = 256 * KIB
_AUTHENTICATION_SECONDS = 20


class IncomingMessage:
    """A message that arrives.

    Attributes:
        content: What has arrived.
        descriptors: What came with it; whoever takes the message closes them.
    """

    def __init__(self) -> None:
        self.content = bytearray()
        self.descriptors: list[int] = []

    def receive(self, connection: socket.socket) -> bool:
        """Receive more of it, and nothing of the next one; return whether it is complete.

        Args:
            connection: A non-blocking socket.

        Raises:
            BlockingIOError: There is no more of it yet.
            EOFError: The connection has ended, or the message is too large.
            OSError: The connection broke.
        """
        while missing := self._missing():
            data, descriptors = receive_with_descriptors(connection, min(missing, _CHUNK))
            self.descriptors += descriptors
            if not data:
                raise EOFError
            self.content += data
        return True

    def close(self) -> None:
        """Close its descriptors."""
        close_received(self.descriptors)

    def _missing(self) -> int:
        if len(self.content) < FIXED_HEADER:
            return FIXED_HEADER - len(self.content)
        _header, size = sizes_of(self.content)
        if size > SIZE_LIMIT:
            raise EOFError
        return size - len(self.content)


def send_start(
    connection: socket.socket, content: bytes | memoryview, descriptors: list[int]
) -> int:
    """Send the start of a message with its descriptors; return how many bytes were sent.

    Args:
        connection: A non-blocking socket.
        content: The message.
        descriptors: They stay the caller's.

    Raises:
        BlockingIOError: Nothing can be sent yet.
        OSError: The connection broke.
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    return connection.sendmsg([content], rights if descriptors else [])


def authenticated_socket(address: str) -> socket.socket:
    """Connect to a bus, and authenticate: the next message is Hello.

    As in the D-Bus Specification 0.43, "Authentication Protocol"; the replies are awaited when
    everything is sent, as sd-bus does.

    Args:
        address: Where the bus is.

    Raises:
        ConnectionError: There is no bus, or it refuses the connection.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(_AUTHENTICATION_SECONDS)
        connection.connect(socket_name(address))
        user = str(os.getuid()).encode().hex()
        connection.sendall(
            f"\0AUTH EXTERNAL {user}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n".encode("ascii")
        )
        replies = b""
        while replies.count(b"\r\n") < 2:
            received = connection.recv(_CHUNK)
            if not received:
                raise ConnectionError("it closed the connection")
            replies += received
        if not (replies.startswith(b"OK ") and replies.endswith(b"\r\nAGREE_UNIX_FD\r\n")):
            raise ConnectionError("it refused the authentication")
    except (OSError, ValueError) as error:
        connection.close()
        reason = getattr(error, "strerror", None) or error
        raise ConnectionError(f"Cannot connect to the bus at {address}: {reason}.") from error
    connection.setblocking(False)
    return connection
