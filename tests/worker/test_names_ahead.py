# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names of an archive that are known before its first entry is read."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.archives import (
    BLOCK,
    archive,
    directory,
    entry,
    hardlink,
    header,
    long_name,
    pax,
    symlink,
)
from tests.support.images import Compression, layer
from tests.support.volumes import open_blob
from tests.worker.mutation import LIMITS
from virtlayer.worker.archive.archive import Archive
from virtlayer.worker.archive.stream import LayerStream
from virtlayer.worker.blob_reader import BlobReader
from virtlayer.worker.problems import BrokenStream

_MANY = 20_000


@contextlib.contextmanager
def reading(blob: bytes) -> Iterator[Archive]:
    with (
        open_blob(blob) as descriptor,
        LayerStream(BlobReader(descriptor), "sha256", LIMITS.bytes) as stream,
    ):
        yield Archive(stream, LIMITS)


def both(data: bytes, compression: Compression = "none") -> tuple[list[bytes], list[bytes]]:
    """The names ahead, and those that the entries then have."""
    with reading(layer(raw=data, compression=compression).blob) as content:
        return content.names_ahead(), [entry.name for entry in content.entries()]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_names_of_every_kind(compression: Compression) -> None:
    data = archive(
        directory("d"),
        entry("d/empty"),
        entry("d/block", b"1" * BLOCK),
        entry("d/more", b"2" * (3 * BLOCK + 1)),
        symlink("d/symlink", "more"),
        hardlink("d/hardlink", "d/more", size=4 * BLOCK),
        entry(".wh.gone"),
    )
    ahead, names = both(data, compression)
    assert ahead == names
    assert len(ahead) == 7


def test_an_extended_header_is_passed_over() -> None:
    long = "n" * 300
    data = archive(
        pax({"path": long}) + entry("short", b"data"),
        long_name("m" * 300) + entry("short-too", b"data"),
        entry("after"),
    )
    ahead, names = both(data)
    assert ahead == [b"short", b"short-too", b"after"]
    assert names == [long.encode(), b"m" * 300, b"after"]


def test_names_ahead_end_with_data_in_memory() -> None:
    paths = [f"file-{number}" for number in range(_MANY)]
    ahead, names = both(archive(*(entry(path) for path in paths)), "gzip")
    assert 100 < len(ahead) < _MANY
    assert names == [path.encode() for path in paths]
    assert names[: len(ahead)] == ahead


def test_a_large_file_ends_them() -> None:
    data = archive(entry("first"), entry("large", bytes(3_000_000)), entry("last"))
    ahead, names = both(data)
    assert ahead == [b"first", b"large"]
    assert names == [b"first", b"large", b"last"]


@pytest.mark.parametrize(
    "wrong", [b"x" * BLOCK, bytes(BLOCK), header("x")[:100], b"", header("x", checksum=b"1")]
)
def test_malformed_header_ends_names_ahead(wrong: bytes) -> None:
    with reading(entry("right", b"data") + wrong) as content:
        assert content.names_ahead() == [b"right"]


def test_an_empty_archive_has_none() -> None:
    assert both(archive()) == ([], [])


def test_a_damaged_stream_is_an_error() -> None:
    blob = b"\x1f\x8b, and what else there is does not follow from it"
    with reading(blob) as content, pytest.raises(BrokenStream):
        content.names_ahead()
