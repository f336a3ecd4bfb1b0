# SPDX-License-Identifier: LGPL-2.1-or-later
"""The walk over a message: it accepts what dbus-next can parse, within limits, and nothing else."""

import io
from typing import Any

import pytest
from dbus_next._private.unmarshaller import Unmarshaller
from dbus_next.message import Message
from dbus_next.signature import Variant
from hypothesis import given, settings
from hypothesis import strategies as st

from virtlayer.dbus.structure import (
    CALL_LIMITS,
    Header,
    MessageLimits,
    UnacceptableMessage,
    check_body,
    read_header,
    sizes_of,
)

WIDE = MessageLimits(size=1 << 30, values=1 << 30, depth=64)


def message(signature: str, *body: Any) -> bytes:
    made = Message(
        destination="org.example.X", path="/a/b", interface="a.b", member="C",
        signature=signature, body=list(body),
    )  # fmt: skip
    made.serial = 7
    return bytes(made._marshall(negotiate_unix_fd=True))


def check(content: bytes, limits: MessageLimits = CALL_LIMITS) -> Header:
    header = read_header(content, limits)
    check_body(content, header, limits)
    return header


VALUES = {
    "b": True, "y": 1, "n": -1, "q": 2, "i": -3, "u": 4, "x": -5, "t": 6, "d": 0.5, "h": 0,
    "s": "text", "o": "/x", "g": "a{sv}", "ay": b"bytes", "as": ["a", "bc", ""], "at": [1, 2],
    "au": [], "(ys)": [1, "x"], "(y(st))": [1, ["x", 2]], "a(ys)": [[1, "x"], [2, "yz"]],
    "a{sv}": {"k": Variant("a(uuu)", [[1, 2, 3]])}, "aa{sv}": [{}, {"a": Variant("s", "b")}],
    "a{oa{sa{sv}}}": {"/a": {"b": {"c": Variant("v", Variant("d", 1.5))}}},
    "aaay": [[b"a"], [], [b"", b"bc"]], "v": Variant("ay", b"xyz"), "a{ya{ts}}": {1: {2: "x"}},
}  # fmt: skip


@pytest.mark.parametrize("signature", VALUES)
@pytest.mark.parametrize("before", ["", "y"])
def test_every_type_is_followed_to_its_end(signature: str, before: str) -> None:
    content = message(before + signature + "s", *([9] if before else []), VALUES[signature], "end")
    header = check(content)
    assert header == Header(
        1, 0, 7, 0, f"{before}{signature}s",
        path="/a/b", interface="a.b", member="C", destination="org.example.X",
    )  # fmt: skip
    assert sizes_of(content)[1] == len(content)


def test_a_call_without_a_body_is_accepted() -> None:
    assert check(message("")).signature == ""


def test_the_header_of_a_reply_is_read() -> None:
    call = Message(destination=":1.2", path="/a", interface="a.b", member="C", sender=":1.3")
    call.serial = 300
    reply = Message.new_error(call, "a.b.Error", "text")
    reply.serial = 1
    header = read_header(bytes(reply._marshall(negotiate_unix_fd=True)), CALL_LIMITS)
    assert (header.kind, header.reply_serial, header.signature) == (3, 300, "s")


def limited(values: int, depth: int = 16) -> MessageLimits:
    return MessageLimits(size=1 << 30, values=values, depth=depth)


@pytest.mark.parametrize(
    ("signature", "value", "values"),
    [
        ("as", ["x"] * 100, 101),
        ("au", [1] * 100, 101),
        ("ay", b"x" * 1000, 1),
        ("av", [Variant("y", 1)] * 100, 301),
        ("a(yy)", [[1, 2]] * 100, 301),
        ("a{sv}", {str(number): Variant("s", "x") for number in range(100)}, 501),
        ("v", Variant("(" + "y" * 100 + ")", [1] * 100), 204),
    ],
)
def test_values_are_counted(signature: str, value: Any, values: int) -> None:
    content = message(signature, value)
    header = read_header(content, CALL_LIMITS)
    check_body(content, header, limited(values))
    with pytest.raises(UnacceptableMessage, match=f"more than {values - 1} values"):
        check_body(content, header, limited(values - 1))


@pytest.mark.parametrize(
    ("signature", "value", "depth"),
    [
        ("as", ["x"], 1),
        ("aas", [["x"]], 2),
        ("a{sv}", {"k": Variant("a(uuu)", [[1, 2, 3]])}, 5),
        ("v", Variant("v", Variant("v", Variant("y", 1))), 3),
    ],
)
def test_depth_is_counted(signature: str, value: Any, depth: int) -> None:
    content = message(signature, value)
    header = read_header(content, CALL_LIMITS)
    check_body(content, header, limited(1000, depth))
    with pytest.raises(UnacceptableMessage, match=f"nested more than {depth - 1} deep"):
        check_body(content, header, limited(1000, depth - 1))


@pytest.mark.parametrize(
    "content",
    [
        b"l\1\0\1" + b"\0" * 8 + b"\xff\xff\xff\x7f",
        b"l\1\0\1" + b"\0" * 8 + b"\x08\0\0\0",
        b"l\1\0\1" + b"\0" * 8 + b"\x08\0\0\0" + b"\1\1o\0\xff\xff\xff\xff",
        b"l\1\0\1" + b"\0" * 8 + b"\x08\0\0\0" + b"\1\0\0\0\0\0\0\0",
        b"l\1\0\1" + b"\0" * 8 + b"\x08\0\0\0" + b"\1\2oo\0\0\0\0",
        b"l\1\0\1" + b"\0" * 8 + b"\x08\0\0\0" + b"\1\1\xe9\0\0\0\0\0",
        b"l\1\0\1" + b"\0" * 8 + b"\x08\0\0\0" + b"\1\1?\0\0\0\0\0",
        b"B\1\0\1" + b"\0" * 8 + b"\x08\0\0\0" + b"\1\1u\0\0\0\0\1",
        b"l\1\0\1" + b"\0" * 8 + b"\x10\0\0\0" + b"\1\xffa" + b"a" * 13,
    ],
)
def test_a_malformed_header_is_unacceptable(content: bytes) -> None:
    with pytest.raises(UnacceptableMessage):
        read_header(content, WIDE)


@pytest.mark.parametrize(
    "signature", ["a", "(", "(y", "a{s", "()", "a()", "y?", "{sv}", "ay)", ")"]
)
def test_a_malformed_signature_is_unacceptable(signature: str) -> None:
    content = message("ay", b"\1" * 60)
    header = Header(1, 0, 7, 0, "", signature)
    with pytest.raises(UnacceptableMessage):
        check_body(content, header, CALL_LIMITS)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_messages_are_accepted_or_unacceptable(data: st.DataObject) -> None:
    """Accepted messages have a bounded number of values, so dbus-next can parse them."""
    signature = data.draw(st.sampled_from(sorted(VALUES)))
    content = bytearray(message(signature, VALUES[signature]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(16, len(content)))])
    for damaged in (bytes(content), cut):
        if sizes_of(damaged)[1] > len(damaged):
            damaged += b"\0" * min(sizes_of(damaged)[1] - len(damaged), 4096)
        try:
            check(damaged)
        except UnacceptableMessage:
            continue
        try:
            Unmarshaller(io.BytesIO(damaged)).unmarshall()
        except RecursionError:
            pytest.fail("it is nested too deep")
        except Exception:  # noqa: S112 -- a name or a text that is not valid; the reader drops it
            continue
