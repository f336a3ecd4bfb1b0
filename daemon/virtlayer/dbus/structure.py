# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks the bytes of a message before dbus-next parses it, which is slow and has no limits.

The format is that of the D-Bus Specification 0.43, "Marshaling (Wire Format)" and "Message Format".
Nothing is built here: the walk counts values, and follows lengths to the end of the message.
"""

import struct
from dataclasses import dataclass

from virtlayer.sizes import MIB

FIXED_HEADER = 16
"""Bytes before the header fields."""
_FIXED_SIZES = {
    "y": 1, "n": 2, "q": 2, "b": 4, "i": 4, "u": 4, "h": 4, "x": 8, "t": 8, "d": 8,
}  # fmt: skip
_ALIGNMENTS = _FIXED_SIZES | {"s": 4, "o": 4, "a": 4, "g": 1, "v": 1, "(": 8, "{": 8}
_REPLY_SERIAL, _SIGNATURE = 5, 8
_TEXTS = {1: "path", 2: "interface", 3: "member", 6: "destination", 7: "sender"}
"""Codes of header fields."""


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """What a received message may contain.

    Attributes:
        size: Bytes, with the header.
        values: Values at any depth. Bytes of an array are not counted; the type codes of a
            variant's signature are, because they are parsed as well.
        depth: Arrays, structs, dictionary entries and variants inside one another.
    """

    size: int
    values: int
    depth: int


CALL_LIMITS = MessageLimits(size=MIB, values=8192, depth=16)
"""For a service: the largest valid call, with hundreds of keys and ranges of ids, has a third of
that."""


class UnacceptableMessage(ValueError):
    """A message is not well-formed, or beyond a limit. The text is a part of a sentence."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fields that are needed of a message that is not parsed.

    Attributes:
        kind: The message type, as the specification numbers them.
        flags: Its flags.
        serial: Its serial.
        reply_serial: Which message it answers; 0 if none.
        signature: Of the body.
        path: Of the object; "" if none.
        interface: Its interface; "" if none.
        member: The method or signal; "" if none.
        destination: The name of the receiver; "" if none.
        sender: The unique name of the sender; "" if none.
    """

    kind: int
    flags: int
    serial: int
    reply_serial: int
    signature: str
    path: str = ""
    interface: str = ""
    member: str = ""
    destination: str = ""
    sender: str = ""


def sizes_of(start: bytes | bytearray) -> tuple[int, int]:
    """Bytes of the header and of the whole message, as its first bytes give them.

    Args:
        start: At least ``FIXED_HEADER`` bytes.
    """
    body, _serial, fields = struct.unpack_from(f"{_order(start)}III", start, 4)
    header = FIXED_HEADER + fields + -fields % 8
    return header, header + body


def read_header(content: bytes, limits: MessageLimits) -> Header:
    """Read the header of a message.

    Args:
        content: The message, or its beginning with the whole header.
        limits: Which the header must be within.

    Raises:
        UnacceptableMessage: It is not a header, or beyond a limit.
    """
    walk = _Walk(content, sizes_of(content)[0], limits)
    try:
        return walk.header()
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise UnacceptableMessage("its header is malformed") from error


def check_body(content: bytes, header: Header, limits: MessageLimits) -> None:
    """Check the body of a message whose header was read.

    Raises:
        UnacceptableMessage: It does not match its signature, or is beyond a limit.
    """
    start, size = sizes_of(content)
    walk = _Walk(content, size, limits)
    walk.position = start
    try:
        walk.body(header.signature)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise UnacceptableMessage("its body is malformed") from error


class _Walk:
    """A position in a message that only moves on.

    Args:
        content: The message.
        end: Where to stop, in bytes.
        limits: Of the message.
    """

    def __init__(self, content: bytes, end: int, limits: MessageLimits) -> None:
        self.position = 0
        self._content = content
        self._end = end
        self._limits = limits
        self._values = 0
        self._number = struct.Struct(f"{_order(content)}I")

    def header(self) -> Header:
        """Walk over a header."""
        kind, flags = self._content[1], self._content[2]
        [serial] = self._number.unpack_from(self._content, 8)
        [fields] = self._number.unpack_from(self._content, 12)
        reply_serial, signature = 0, ""
        texts: dict[str, str] = {}
        self.position = FIXED_HEADER
        while self.position < FIXED_HEADER + fields:
            self._align(8)
            code = self._content[self.position]
            self.position += 1
            # The value is behind the signature of the variant: a length, one code, and a NUL.
            value = self.position + 3
            self._variant(1)
            if code == _REPLY_SERIAL:
                [reply_serial] = self._number.unpack_from(self._content, value + -value % 4)
            elif code in _TEXTS:
                start = value + -value % 4 + 4
                texts[_TEXTS[code]] = self._content[start : self.position - 1].decode()
            elif code == _SIGNATURE:
                signature = self._content[value + 1 : self.position - 1].decode("ascii")
        return Header(kind, flags, serial, reply_serial, signature, **texts)

    def body(self, signature: str) -> None:
        """Walk over a body, to its end."""
        self._all_of(signature, 0)
        if self.position != self._end:
            raise UnacceptableMessage("its body is longer than its signature says")

    def _all_of(self, signature: str, depth: int) -> None:
        index = 0
        while index < len(signature):
            index = self._value(signature, index, depth)

    def _value(self, signature: str, index: int, depth: int) -> int:
        """Walk over a value, and return where the next type is in the signature."""
        self._count(1)
        code = signature[index]
        self._align(_alignment(code))
        if size := _FIXED_SIZES.get(code):
            self._skip(size)
        elif code == "a":
            return self._array(signature, index + 1, self._deeper(depth))
        elif code == "v":
            self._variant(self._deeper(depth))
        elif code in "({":
            depth, index = self._deeper(depth), index + 1
            while signature[index] not in ")}":
                index = self._value(signature, index, depth)
        else:
            self._text(code)
        return index + 1

    def _array(self, signature: str, index: int, depth: int) -> int:
        length = self._length()
        code = signature[index]
        self._align(_alignment(code))
        end = self.position + length
        if size := _FIXED_SIZES.get(code):
            self._count(0 if code == "y" else length // size)
            self._skip(length)
            return index + 1
        while self.position < end:
            self._value(signature, index, depth)
        if self.position != end:
            raise UnacceptableMessage("an array ends within a value")
        return _after_type(signature, index)

    def _variant(self, depth: int) -> None:
        start = self.position + 1
        self._text("g")
        signature = self._content[start : self.position - 1].decode("ascii")
        self._count(len(signature))
        if not signature or _after_type(signature, 0) != len(signature):
            raise UnacceptableMessage("a variant does not have one type")
        _ = self._value(signature, 0, depth)

    def _text(self, code: str) -> None:
        """Walk over a string, an object path or a signature, with the NUL at its end."""
        if code == "g":
            length = self._content[self.position]
            self._skip(1)
        else:
            length = self._length()
        self._skip(length + 1)

    def _length(self) -> int:
        [length] = self._number.unpack_from(self._content, self.position)
        self._skip(4)
        return int(length)

    def _align(self, alignment: int) -> None:
        self.position += -self.position % alignment

    def _skip(self, size: int) -> None:
        self.position += size
        if self.position > self._end:
            raise UnacceptableMessage("a value goes beyond the end of the message")

    def _count(self, number: int) -> None:
        self._values += number
        if self._values > self._limits.values:
            raise UnacceptableMessage(f"it has more than {self._limits.values} values, the limit")

    def _deeper(self, depth: int) -> int:
        if depth >= self._limits.depth:
            raise UnacceptableMessage(f"its values are nested more than {self._limits.depth} deep")
        return depth + 1


def _order(start: bytes | bytearray) -> str:
    return "<" if start[:1] == b"l" else ">"


def _alignment(code: str) -> int:
    if code not in _ALIGNMENTS:
        raise UnacceptableMessage("a signature has an unknown type")
    return _ALIGNMENTS[code]


def _after_type(signature: str, index: int) -> int:
    """Where a complete type ends in a signature."""
    while signature[index] == "a":
        index += 1
    brackets = 0
    while True:
        brackets += (signature[index] in "({") - (signature[index] in ")}")
        index += 1
        if brackets <= 0:
            return index
