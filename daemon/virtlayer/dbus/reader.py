# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages from the socket of a bus connection.

dbus-next 0.2.3 loses the connection when it does not understand a message, lets descriptors through
to child programs, and parses messages of any size and structure, for seconds. This reader takes the
place of its own. The framing is that of the D-Bus Specification 0.43, "Message Protocol".
"""

import io
import logging
import socket
from dataclasses import dataclass

from dbus_next._private.unmarshaller import Unmarshaller
from dbus_next.message import Message
from dbus_next.signature import SignatureTree

from virtlayer.dbus.received import close_received, receive_with_descriptors
from virtlayer.dbus.structure import (
    FIXED_HEADER,
    Header,
    MessageLimits,
    UnacceptableMessage,
    check_body,
    read_header,
    sizes_of,
)
from virtlayer.sizes import KIB, MIB, human_size

_log = logging.getLogger(__name__)

_SIZE_LIMIT = 128 * MIB
"""Bytes of a message: the specification's maximum."""
_CHUNK = 256 * KIB
_CHUNKS_SKIPPED_AT_ONCE = 16
"""So many chunks of an oversized message are skipped before the event loop serves others."""
_SIGNATURES_KEPT = 1000
"""dbus-next keeps every signature that it ever saw, and callers can invent them."""


class _Signatures(dict[str, SignatureTree]):
    """dbus-next's cache of signatures; it can be emptied while a thread makes a message."""

    def __missing__(self, signature: str) -> SignatureTree:
        return SignatureTree(signature)


SignatureTree._cache = _Signatures()  # noqa: SLF001 -- dbus-next has no way to replace it


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """A message that was not parsed. Its descriptors are closed.

    Attributes:
        header: Of the message.
        reason: Why it was not parsed, as a sentence.
    """

    header: Header
    reason: str


class Reader:
    """Reads messages from a non-blocking socket.

    Args:
        connection: The socket.
        limits: What a message may contain; None for the specification's maximum size only.
    """

    def __init__(self, connection: socket.socket, limits: MessageLimits | None = None) -> None:
        self._socket = connection
        self._limits = limits
        self._buffer = bytearray()
        self._descriptors: list[int] = []
        self._left_to_skip = 0
        self._refused: RefusedMessage | None = None

    def read(self) -> Message | RefusedMessage | None:
        """Return the next message, or None if it has not arrived in whole.

        A message without a valid header is dropped, and so is one that dbus-next cannot represent,
        if there are no limits. The caller owns the descriptors of a message.

        Raises:
            EOFError: The bus has closed the connection.
            OSError: The connection broke.
        """
        # Only ever the bytes of one message are asked for: the kernel hands descriptors out
        # together with the first byte of the message that they came with.
        while True:
            if self._left_to_skip and not self._skip():
                return None
            if self._refused is not None:
                refused, self._refused = self._refused, None
                return refused
            if not self._fill(FIXED_HEADER):
                return None
            header_size, size = self._sizes()
            if self._limits is not None and size > self._limits.size:
                # Without its header, a message is skipped and not answered.
                if header_size <= self._limits.size and not self._fill(header_size):
                    return None
                self._begin_to_skip(size, self._limits)
            elif not self._fill(size):
                return None
            elif (message := self._complete()) is not None:
                return message

    def close(self) -> None:
        """Discard a message that was read in part."""
        self._close_descriptors()

    def _sizes(self) -> tuple[int, int]:
        header_size, size = sizes_of(self._buffer)
        if size > _SIZE_LIMIT:
            raise EOFError(f"the bus sent a message of {size} bytes")
        return header_size, size

    def _begin_to_skip(self, size: int, limits: MessageLimits) -> None:
        start = bytes(self._buffer)
        self._left_to_skip = size - len(start)
        self._buffer = bytearray()
        self._close_descriptors()
        try:
            self._refused = _refused(
                read_header(start, limits),
                f"it has {size} bytes; the limit is {human_size(limits.size)}",
            )
        except UnacceptableMessage as error:
            _log.warning("Dropped a message of %d bytes: %s.", size, error)

    def _skip(self) -> bool:
        """Read on in a message that is not kept; False if there is more of it."""
        for _ in range(_CHUNKS_SKIPPED_AT_ONCE):
            data = self._receive(min(self._left_to_skip, _CHUNK))
            self._close_descriptors()
            if data is None:
                return False
            self._left_to_skip -= len(data)
            if not self._left_to_skip:
                return True
        return False

    def _complete(self) -> Message | RefusedMessage | None:
        content, descriptors = bytes(self._buffer), self._descriptors
        self._buffer, self._descriptors = bytearray(), []
        message = _accepted(content, descriptors, self._limits)
        if not isinstance(message, Message):
            close_received(descriptors)
        return message

    def _fill(self, size: int) -> bool:
        while (missing := size - len(self._buffer)) > 0:
            data = self._receive(min(missing, _CHUNK))
            if data is None:
                return False
            self._buffer += data
        return True

    def _receive(self, size: int) -> bytes | None:
        """Read some bytes, and the descriptors that come with them; None if there are none yet."""
        try:
            data, descriptors = receive_with_descriptors(self._socket, size)
        except BlockingIOError:
            return None
        self._descriptors.extend(descriptors)
        if not data:
            raise EOFError("the bus closed the connection")
        return data

    def _close_descriptors(self) -> None:
        close_received(self._descriptors)
        self._descriptors.clear()


def _accepted(
    content: bytes, descriptors: list[int], limits: MessageLimits | None
) -> Message | RefusedMessage | None:
    if limits is None:
        return _parsed(content, descriptors)
    try:
        header = read_header(content, limits)
    except UnacceptableMessage as error:
        _log.warning("Dropped a message: %s.", error)
        return None
    try:
        check_body(content, header, limits)
    except UnacceptableMessage as error:
        return _refused(header, str(error))
    return _parsed(content, descriptors) or _refused(header, "it is malformed")


def _refused(header: Header, reason: str) -> RefusedMessage:
    return RefusedMessage(header, f"The message was rejected: {reason}.")


def _parsed(content: bytes, descriptors: list[int]) -> Message | None:
    if len(SignatureTree._cache) > _SIGNATURES_KEPT:  # noqa: SLF001 -- it has no bound of its own
        SignatureTree._cache.clear()  # noqa: SLF001 -- see above
    parser = Unmarshaller(io.BytesIO(content))
    parser.unix_fds = descriptors
    try:
        message: Message | None = parser.unmarshall()
    except Exception as error:  # any error of its parser: the next message is read normally
        _log.warning("Dropped a message: %r", error)
        return None
    return message
