# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tar headers: the checksum against its definition, and the quick reader against the other one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtlayer.worker.archive.header import BLOCK, BadHeader, Header, parse_header
from virtlayer.worker.archive.plain import plain_reader

_FIELD = slice(148, 156)
_FORMATS = (b"%06o\0 ", b"%07o\0", b"%08o", b"%o \0", b" %o\0")
# Every number in them is 0, so that only the checksum can be wrong.
_TEXTS = (slice(0, 100), slice(157, 257), slice(265, 512))

_blocks = st.one_of(
    st.binary(min_size=BLOCK, max_size=BLOCK),
    st.integers(0, 255).map(lambda byte: bytes([byte]) * BLOCK),
).map(lambda block: _with_texts_of(block))


def _with_texts_of(block: bytes) -> bytes:
    header = bytearray(BLOCK)
    for part in _TEXTS:
        header[part] = block[part]
    return bytes(header)


def _summed(block: bytes, *, signed: bool) -> int:
    rest = block[: _FIELD.start] + b" " * 8 + block[_FIELD.stop :]
    return sum(byte - 256 if signed and byte >= 0x80 else byte for byte in rest)


def _with_checksum(block: bytes, field: bytes) -> bytes:
    return block[: _FIELD.start] + field.ljust(8, b"\0")[:8] + block[_FIELD.stop :]


@given(_blocks, st.sampled_from(_FORMATS))
def test_the_sum_of_the_bytes_is_taken_however_it_is_written(block: bytes, written: bytes) -> None:
    right = _with_checksum(block, written % _summed(block, signed=False))

    assert parse_header(right).raw == right


@given(_blocks)
def test_the_sum_of_signed_bytes_is_taken(block: bytes) -> None:
    total = _summed(block, signed=True)
    field = b"%07o\0" % total if total >= 0 else (total & (1 << 64) - 1).to_bytes(8)

    assert parse_header(_with_checksum(block, field)).type == b"\0"


@given(_blocks, st.integers(-(2**17), 2**17), st.sampled_from(_FORMATS))
def test_any_other_sum_is_refused(block: bytes, error: int, written: bytes) -> None:
    total = _summed(block, signed=False)
    stated = total + error
    if stated in (total, _summed(block, signed=True)) or not 0 <= stated < 2**18:
        return

    with pytest.raises(
        BadHeader, match=f"checksum of the header is {stated}, but it should be {total}"
    ):
        parse_header(_with_checksum(block, written % stated))


@pytest.mark.parametrize("error", [65521, -65521, 65536, -65536, 1, -1])
def test_checksum_with_a_lost_carry_is_refused(error: int) -> None:
    """Adler-32 counts modulo 65521, and half of it has 16 bits."""
    block = _with_texts_of(b"\xff" * BLOCK)
    total = _summed(block, signed=False)

    with pytest.raises(BadHeader, match="checksum"):
        parse_header(_with_checksum(block, b"%06o\0 " % (total + error)))


_NUMBERS = st.one_of(
    st.integers(0, 8**7 - 1).map(b"%07o\0".__mod__),
    st.text("01234567 \0", max_size=12).map(str.encode),
    st.sampled_from(
        [b"", b" ", b"7" * 12, b"8", b"1_1", b"+1", b"0o1", b"1 1", b"\0001", b"\x80\1"]
    ),
    st.binary(max_size=12),
)
_WORDS = st.one_of(
    st.sampled_from([b"", b"a", b"usr/bin/", b"n" * 155, b"n" * 100]), st.binary(max_size=155)
)
_MAGICS = st.sampled_from([b"ustar\00000", b"ustar  \0", b"ustar", b"", b"USTAR\000"])


@st.composite
def _headers(draw: st.DrawFn) -> bytes:
    block = bytearray(BLOCK)

    def put(start: int, end: int, field: bytes) -> None:
        block[start:end] = field.ljust(end - start, b"\0")[: end - start]

    put(0, 100, draw(_WORDS))
    for start, end in ((100, 108), (108, 116), (116, 124), (124, 136), (136, 148)):
        put(start, end, draw(_NUMBERS))
    put(156, 157, draw(st.sampled_from([b"0", b"5", b"\0", b"x", b"3"])))
    put(157, 257, draw(_WORDS))
    put(257, 265, draw(_MAGICS))
    put(345, 512, draw(_WORDS))
    put(508, 512, draw(st.sampled_from([b"", b"tar", b"tart"])))
    total = _summed(bytes(block), signed=draw(st.booleans()))
    written = draw(st.sampled_from(_FORMATS)) % abs(total)
    return _with_checksum(bytes(block), draw(st.one_of(st.just(written), _NUMBERS)))


def _parsed(block: bytes) -> Header | None:
    try:
        return parse_header(block)
    except BadHeader:
        return None


@given(_headers())
def test_quick_reader_agrees_with_the_header(block: bytes) -> None:
    plain = plain_reader()(block)

    if plain is not None:
        header = _parsed(block)
        assert header is not None
        name, kind, mode, uid, gid, size, mtime, link = plain
        assert (name, mode, uid, gid, size, mtime, kind, link) == header[:8]


@pytest.mark.parametrize("prefix", [b"", b"p", b"p" * 155])
@pytest.mark.parametrize("length", [1, 99, 100])
def test_quick_reader_accepts_headers_of_tar(prefix: bytes, length: int) -> None:
    block = bytearray(BLOCK)
    block[0:100] = (b"n" * length).ljust(100, b"\0")
    block[100:148] = b"0000644\0" + b"0001750\0" * 2 + b"00000001234\0" + b"14761414242\0"
    block[156:257] = b"0" + b"l" * 100
    block[257:265] = b"ustar\00000"
    block[345:500] = prefix.ljust(155, b"\0")
    right = _with_checksum(bytes(block), b"%06o\0 " % _summed(bytes(block), signed=False))

    read = plain_reader()(right)
    assert read is not None
    name, *others = read

    assert name == (prefix + b"/" if prefix else b"") + b"n" * length
    assert others == [b"0", 0o644, 0o1750, 0o1750, 0o1234, 0o14761414242, b"l" * 100]
