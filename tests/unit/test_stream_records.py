# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records of the ports and streams, found in bytes of a hostile guest."""

import struct
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from virtlayer.protocol.streams import (
    CONTENT_LIMIT,
    HEADER,
    INPUT,
    MARK,
    OUTPUT,
    STREAM,
    Record,
    RecordKind,
    RecordParser,
)

BUFFER_LIMIT = HEADER.size + CONTENT_LIMIT
LOST = Record(RecordKind.LOST)


def output_records() -> st.SearchStrategy[Record]:
    """Records of our init; the content may look like a record."""
    streams = st.sampled_from([RecordKind.STDOUT, RecordKind.STDERR, RecordKind.TERMINAL])
    return st.one_of(
        st.builds(Record, streams, st.binary(max_size=300)),
        st.just(Record(RecordKind.STARTED)),
        st.builds(Record, st.just(RecordKind.EXIT), st.binary(min_size=1, max_size=1)),
        st.builds(Record, st.just(RecordKind.FAILED), st.binary(max_size=100)),
    )


def in_pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    return [content[start:end] for start, end in pairwise(places)]


def parsed(parser: RecordParser, pieces: list[bytes]) -> list[Record]:
    found = []
    for piece in pieces:
        found += parser.feed(piece)
        assert parser.buffered <= BUFFER_LIMIT
    return found


@given(st.lists(output_records(), max_size=20), st.lists(st.integers(min_value=0), max_size=20))
def test_records_are_found_however_they_are_cut(records: list[Record], cuts: list[int]) -> None:
    content = b"".join(record.encoded() for record in records)
    parser = RecordParser(OUTPUT)
    assert parsed(parser, in_pieces(content, cuts)) == records
    assert parser.buffered == 0


@given(st.lists(output_records(), min_size=2, max_size=20), st.integers(min_value=1))
def test_reader_that_begins_within_a_record_finds_the_next_one(
    records: list[Record], begin: int
) -> None:
    content = b"".join(record.encoded() for record in records)
    begin %= len(content)
    left = 0
    starts = []
    for record in records:
        starts.append(left)
        left += HEADER.size + len(record.content)
    expected = [record for record, start in zip(records, starts, strict=True) if start >= begin]
    found = RecordParser(OUTPUT, within=True).feed(content[begin:])
    # Content of the first record that looks like a header can only add to what is found.
    assert found[len(found) - len(expected) :] == expected


def test_content_that_looks_like_a_record_is_not_one() -> None:
    trap = b"x" * 9 + Record(RecordKind.EXIT, b"\0").encoded() + b"x" * 9
    records = [Record(RecordKind.STDOUT, trap), Record(RecordKind.EXIT, b"\7")]
    content = b"".join(record.encoded() for record in records)
    assert RecordParser(OUTPUT, within=True).feed(content[10:]) == records[1:]


def test_invalid_bytes_are_reported_once_and_left_out() -> None:
    before, after = Record(RecordKind.STDOUT, b"before"), Record(RecordKind.STDERR, b"after")
    parser = RecordParser(OUTPUT)
    garbage = b"garbage" + MARK + b"\xff" + MARK[:2]
    pieces = in_pieces(before.encoded() + garbage + after.encoded(), list(range(100)))
    assert parsed(parser, pieces) == [before, LOST, after]


@pytest.mark.parametrize(
    "invalid",
    [
        HEADER.pack(MARK, RecordKind.STDOUT, CONTENT_LIMIT + 1),
        HEADER.pack(MARK, RecordKind.STDOUT, 2**32 - 1),
        HEADER.pack(MARK, RecordKind.STARTED, 1),
        HEADER.pack(MARK, RecordKind.EXIT, 0),
        HEADER.pack(MARK, RecordKind.EXIT, 4),
        HEADER.pack(MARK, RecordKind.FAILED, CONTENT_LIMIT),
        # Those of the service and of clients: a guest must not send them.
        Record(RecordKind.ENDED, b"stopped").encoded(),
        LOST.encoded(),
        Record(RecordKind.STDIN, b"x").encoded(),
        HEADER.pack(MARK, 0, 1),
    ],
    ids=lambda content: content[:16].hex(),
)
def test_invalid_record_of_a_guest_is_left_out(invalid: bytes) -> None:
    after = Record(RecordKind.TERMINAL, b"after")
    assert RecordParser(OUTPUT).feed(invalid + after.encoded()) == [LOST, after]


@pytest.mark.parametrize(
    "record",
    [
        Record(RecordKind.WINDOW_SIZE, struct.pack("<HH", 24, 80)),
        Record(RecordKind.SIGNAL, b"\2"),
        Record(RecordKind.STDIN, b"x" * CONTENT_LIMIT),
        Record(RecordKind.END_OF_INPUT),
    ],
    ids=lambda record: record.kind.name,
)
def test_input_is_accepted_from_a_client_only(record: Record) -> None:
    assert RecordParser(INPUT).feed(record.encoded()) == [record]
    assert record not in RecordParser(OUTPUT).feed(record.encoded())


def test_records_of_the_service_are_accepted_by_a_client() -> None:
    records = [LOST, Record(RecordKind.LIVE), Record(RecordKind.ENDED, b"stopped")]
    content = b"".join(record.encoded() for record in records)
    assert RecordParser(STREAM).feed(content) == records


def test_interruption_drops_the_incomplete_record() -> None:
    parser = RecordParser(OUTPUT)
    assert parser.feed(Record(RecordKind.STDOUT, b"x" * 99).encoded()[:50]) == []
    assert parser.interrupt() == LOST
    after = Record(RecordKind.STDOUT, b"after")
    assert parser.feed(b"xxx" + after.encoded()) == [after]


def test_many_false_headers_are_left_out() -> None:
    # Each says that it is as long as allowed, and is followed by nothing valid.
    false = HEADER.pack(MARK, RecordKind.STDOUT, CONTENT_LIMIT - 3) * 500_000
    parser = RecordParser(OUTPUT, within=True)
    assert parsed(parser, [false[at : at + 65536] for at in range(0, len(false), 65536)]) == []


@given(st.lists(st.binary(max_size=500), max_size=20), st.booleans())
@example([MARK, b"\1", b"\5\0\0\0hello" + MARK], True)
def test_any_bytes_give_valid_records_in_bounded_memory(
    pieces: list[bytes],
    within: bool,
) -> None:
    for record in parsed(RecordParser(OUTPUT, within=within), pieces):
        assert record == LOST or len(record.content) in OUTPUT[record.kind]


@given(
    st.lists(
        st.one_of(
            st.builds(Record.encoded, output_records()),
            st.binary(max_size=30),
            st.builds(
                HEADER.pack,
                st.just(MARK),
                st.integers(min_value=0, max_value=255),
                st.integers(min_value=0, max_value=200),
            ),
        ),
        max_size=20,
    ),
    st.lists(st.integers(min_value=0), max_size=20),
)
def test_records_between_garbage_are_valid(parts: list[bytes], cuts: list[int]) -> None:
    parser = RecordParser(OUTPUT)
    after = Record(RecordKind.EXIT, b"\0")
    # Long enough to end every record that the garbage seems to begin.
    end = b"\0" * 500 + after.encoded()
    found = parsed(parser, [*in_pieces(b"".join(parts), cuts), end])
    assert all(r == LOST or len(r.content) in OUTPUT[r.kind] for r in found)
    assert found[-1] == after
