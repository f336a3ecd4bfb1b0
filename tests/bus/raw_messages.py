# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages written byte by byte, as dbus-next would not: large, nested, big-endian, damaged."""

import array
import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

_METHOD_CALL = 1
_PATH, _INTERFACE, _MEMBER, _REPLY_SERIAL, _DESTINATION = 1, 2, 3, 5, 6
_SIGNATURE, _DESCRIPTORS = 8, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCall:
    """A method call.

    Attributes:
        signature: Of the body.
        body: The bytes of the body.
        order: "<" for little-endian, ">" for big-endian.
    """

    destination: str
    path: str
    interface: str
    member: str
    signature: str = ""
    body: bytes = b""
    serial: int = 1
    flags: int = 0
    order: str = "<"
    descriptors: int = 0

    def __bytes__(self) -> bytes:
        fields = [
            (_PATH, "o", self.path),
            (_DESTINATION, "s", self.destination),
            (_INTERFACE, "s", self.interface),
            (_MEMBER, "s", self.member),
        ]
        header = b""
        for code, kind, value in fields:
            header += b"\0" * (-len(header) % 8) + bytes((code, 1)) + kind.encode() + b"\0"
            header += struct.pack(f"{self.order}I", len(value)) + value.encode() + b"\0"
        if self.signature:
            header += b"\0" * (-len(header) % 8) + bytes((_SIGNATURE, 1)) + b"g\0"
            header += bytes((len(self.signature),)) + self.signature.encode() + b"\0"
        if self.descriptors:
            header += b"\0" * (-len(header) % 8) + bytes((_DESCRIPTORS, 1)) + b"u\0"
            header += struct.pack(f"{self.order}I", self.descriptors)
        start = struct.pack(
            f"{self.order}cBBBIII",
            b"l" if self.order == "<" else b"B",
            _METHOD_CALL,
            self.flags,
            1,
            len(self.body),
            self.serial,
            len(header),
        )
        return start + header + b"\0" * (-len(header) % 8) + self.body


def text(value: str, order: str = "<") -> bytes:
    """A string, as it begins at a multiple of 4."""
    return struct.pack(f"{order}I", len(value.encode())) + value.encode() + b"\0"


def array_of(content: bytes, order: str = "<") -> bytes:
    """An array of elements that are aligned to 4 bytes or less, as it begins a body."""
    return struct.pack(f"{order}I", len(content)) + content


class RawConnection:
    """A connection to a bus that sends bytes as they are."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._received = bytearray()

    async def send(self, content: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send bytes, the descriptors with the first of them."""
        loop = asyncio.get_running_loop()
        if descriptors:
            rights = array.array("i", descriptors)
            self._socket.setblocking(True)
            sent = self._socket.sendmsg(
                [content[:1024]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            )
            self._socket.setblocking(False)
            content = content[sent:]
        await loop.sock_sendall(self._socket, content)

    async def reply_to(self, serial: int) -> tuple[str, str]:
        """Wait for the reply to a call; return the name of its error, or "", and its first text."""
        while True:
            content = await self._message()
            order = "<" if content[:1] == b"l" else ">"
            error, answered, signature = _reply_fields(content, order)
            if answered == serial:
                [fields] = struct.unpack_from(f"{order}I", content, 12)
                body = content[16 + fields + -fields % 8 :]
                if not signature.startswith("s"):
                    return error, ""
                [length] = struct.unpack_from(f"{order}I", body)
                return error, body[4 : 4 + length].decode()

    async def _message(self) -> bytes:
        await self._fill(16)
        order = "<" if self._received[:1] == b"l" else ">"
        body, _serial, fields = struct.unpack_from(f"{order}III", self._received, 4)
        size = 16 + fields + -fields % 8 + body
        await self._fill(size)
        content = bytes(self._received[:size])
        del self._received[:size]
        return content

    async def _fill(self, size: int) -> None:
        while len(self._received) < size:
            data = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
            if not data:
                raise EOFError("the bus closed the connection")
            self._received += data


def _reply_fields(content: bytes, order: str) -> tuple[str, int, str]:
    error, answered, signature = "", 0, ""
    [fields] = struct.unpack_from(f"{order}I", content, 12)
    position = 16
    while position < 16 + fields:
        position += -position % 8
        code, kind = content[position], content[position + 2 : position + 3]
        position += 4
        if kind == b"g":
            length = content[position]
            value = content[position + 1 : position + 1 + length].decode()
            position += length + 2
            signature = value
            continue
        [number] = struct.unpack_from(f"{order}I", content, position)
        position += 4
        if kind == b"u":
            answered = number if code == _REPLY_SERIAL else answered
            continue
        value = content[position : position + number].decode()
        position += number + 1
        error = value if code == 4 else error
    return error, answered, signature


@contextlib.asynccontextmanager
async def raw_connection(address: str) -> AsyncIterator[RawConnection]:
    """Connect to a bus, with descriptors negotiated, and say Hello.

    Args:
        address: Of the bus, ``unix:path=…``.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, address.removeprefix("unix:path="))
        uid = str(os.geteuid()).encode().hex()
        for line, answer in (
            (f"\0AUTH EXTERNAL {uid}", b"OK "),
            ("NEGOTIATE_UNIX_FD", b"AGREE_UNIX_FD"),
        ):
            await loop.sock_sendall(connection, f"{line}\r\n".encode())
            assert (await loop.sock_recv(connection, 4096)).startswith(answer)
        await loop.sock_sendall(connection, b"BEGIN\r\n")
        raw = RawConnection(connection)
        bus = "org.freedesktop.DBus"
        hello = RawCall(
            destination=bus, path="/org/freedesktop/DBus", interface=bus, member="Hello", serial=1
        )
        await raw.send(bytes(hello))
        assert (await raw.reply_to(1))[0] == ""
        yield raw
