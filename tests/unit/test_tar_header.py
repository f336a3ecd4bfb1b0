# SPDX-License-Identifier: LGPL-2.1-or-later
"""The checksum of a tar header, against its definition, on blocks of all kinds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtlayer.layer.header import BLOCK, BadHeader, parse_header

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

    with pytest.raises(BadHeader, match=f"checksum is {stated}, its bytes add up to {total}"):
        parse_header(_with_checksum(block, written % stated))


@pytest.mark.parametrize("error", [65521, -65521, 65536, -65536, 1, -1])
def test_a_sum_that_differs_by_what_a_faster_one_could_lose_is_refused(error: int) -> None:
    """Adler-32 counts modulo 65521, and half of it has 16 bits."""
    block = _with_texts_of(b"\xff" * BLOCK)
    total = _summed(block, signed=False)

    with pytest.raises(BadHeader, match="checksum"):
        parse_header(_with_checksum(block, b"%06o\0 " % (total + error)))
