# SPDX-License-Identifier: LGPL-2.1-or-later
"""Headers of image files, built byte by byte."""

import struct
import tempfile

import pytest

from virtlayer.protocol.image_formats import read_header
from virtlayer.protocol.image_headers import ImageHeader, parse_packet

_MAGIC = b"QFI\xfb"
_END, _BACKING_FORMAT, _DATA_FILE, _FEATURES = 0, 0xE2792ACA, 0x44415441, 0x6803F857


def read(content: bytes) -> ImageHeader:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        header = read_header(file.fileno())
    assert parse_packet(header.packet()) == header
    return header


def extension(kind: int, data: bytes, *, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return struct.pack(">II", kind, size) + data + bytes(-len(data) % 8)


def qcow2(
    *,
    version: int = 3,
    offset: int = 0,
    size: int = 0,
    cluster_bits: int = 16,
    incompatible: int = 0,
    length: int = 104,
    extensions: bytes = b"",
    at: tuple[int, bytes] = (0, b""),
) -> bytes:
    """A qcow2: header, extensions, and some bytes at an offset."""
    head = struct.pack(">4sIQIIQ", _MAGIC, version, offset, size, cluster_bits, 1 << 30)
    if version > 2:
        head = head.ljust(72, b"\0") + struct.pack(">QQQII", incompatible, 0, 0, 4, length)
    head = head.ljust(72 if version == 2 else 104, b"\0") + extensions
    place, content = at
    return head if not content else head.ljust(place, b"\0")[:place] + content


def qed(*, features: int = 0, offset: int = 0, size: int = 0, name: bytes = b"") -> bytes:
    head = struct.pack(
        "<4sIIIQQQQQII", b"QED\0", 65536, 4, 1, features, 0, 0, 65536, 1 << 30, offset, size
    )
    return head.ljust(offset, b"\0") + name


def named(*, version: int = 3, incompatible: int = 0) -> bytes:
    """An overlay of "base"."""
    at = (1000, b"base")
    return qcow2(version=version, incompatible=incompatible, offset=1000, size=4, at=at)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ImageHeader()),
        (b"QFI", ImageHeader()),
        (bytes(70_000), ImageHeader()),
        (b"KDMV" + bytes(600), ImageHeader()),
        (qcow2(version=2), ImageHeader("qcow2")),
        (qcow2(), ImageHeader("qcow2")),
        (named(version=2), ImageHeader("qcow2", "base")),
        (named(), ImageHeader("qcow2", "base")),
        # The name is at most 1023 bytes long and in the first cluster, which can be large.
        (qcow2(offset=200, size=1023, at=(200, b"x" * 1023)), ImageHeader("qcow2", "x" * 1023)),
        (
            qcow2(cluster_bits=21, offset=2_000_000, size=4, at=(2_000_000, b"far!")),
            ImageHeader("qcow2", "far!"),
        ),
        # A name ends at its first NUL, and bytes behind the end of the file are zero.
        (qcow2(offset=200, size=8, at=(200, b"a\0b\0\0\0\0\0")), ImageHeader("qcow2", "a")),
        (qcow2(offset=200, size=8, at=(200, b"end")), ImageHeader("qcow2", "end")),
        (qcow2(offset=60_000, size=8), ImageHeader("qcow2")),
        (qcow2(offset=200, size=0, at=(200, b"x")), ImageHeader("qcow2")),
        # Without an offset there is no name, whatever its size is.
        (qcow2(size=2**32 - 1), ImageHeader("qcow2")),
        (qcow2(offset=200, size=2, at=(200, b"\xff\n")), ImageHeader("qcow2", "\udcff\n")),
        (
            qcow2(
                offset=300,
                size=1,
                extensions=extension(_FEATURES, bytes(96))
                + extension(_BACKING_FORMAT, b"qcow2")
                + extension(_END, b""),
                at=(300, b"b"),
            ),
            ImageHeader("qcow2", "b", "qcow2"),
        ),
        (
            qcow2(version=2, extensions=extension(_BACKING_FORMAT, b"raw")),
            ImageHeader("qcow2", "", "raw"),
        ),
        (
            qcow2(incompatible=4, extensions=extension(_DATA_FILE, b"data.raw")),
            ImageHeader("qcow2", data_file="data.raw"),
        ),
        # Extensions end where the name begins.
        (
            qcow2(offset=104, size=8, at=(104, extension(_DATA_FILE, b"data"))),
            ImageHeader("qcow2", "DATA"),
        ),
        (qcow2(length=112, extensions=bytes(8)), ImageHeader("qcow2")),
        # Features of later versions change nothing about the names.
        (named(incompatible=1 << 40), ImageHeader("qcow2", "base")),
        (
            struct.pack(">4sIQI", _MAGIC, 1, 48, 4).ljust(48, b"\0") + b"base",
            ImageHeader("qcow", "base"),
        ),
        (struct.pack(">4sIQI", _MAGIC, 1, 0, 4), ImageHeader("qcow")),
        (qed(), ImageHeader("qed")),
        (qed(offset=64, size=4, name=b"base"), ImageHeader("qed")),
        (qed(features=1, offset=64, size=4, name=b"base"), ImageHeader("qed", "base")),
        (qed(features=5, offset=64, size=4, name=b"base"), ImageHeader("qed", "base", "raw")),
    ],
)
def test_header_is_understood_as_qemu_does(content: bytes, expected: ImageHeader) -> None:
    assert read(content) == expected


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (_MAGIC, "unknown qcow2 version 0"),
        (qcow2(version=4), "unknown qcow2 version 4"),
        (qcow2(version=2**32 - 1), "unknown qcow2 version 4294967295"),
        (qcow2(cluster_bits=8), "clusters of 2^8 bytes"),
        (qcow2(cluster_bits=22), "clusters of 2^22 bytes"),
        (qcow2(length=103), "a qcow2 header of 103 bytes"),
        (qcow2(length=2**32 - 1), "a qcow2 header of 4294967295 bytes"),
        (qcow2(offset=65537, size=4), "outside its header"),
        (qcow2(offset=2**64 - 1, size=4), "outside its header"),
        (qcow2(offset=200, size=1024), "a backing file: 1024 bytes"),
        (qcow2(offset=200, size=2**32 - 1), "a backing file: 4294967295 bytes"),
        (
            qcow2(extensions=extension(_BACKING_FORMAT, b"x" * 16)),
            "a format: 16 bytes",
        ),
        (
            qcow2(extensions=extension(_DATA_FILE, b"x" * 1024)),
            "a data file: 1024 bytes",
        ),
        (
            qcow2(extensions=extension(_FEATURES, b"", length=2**32 - 1)),
            "exceeds its header",
        ),
        (
            qcow2(extensions=extension(_FEATURES, b"", length=65_536 - 111)),
            "exceeds its header",
        ),
        (qcow2(extensions=extension(_FEATURES, b"") * 8000), "more than 64"),
        (struct.pack(">4sIQI", _MAGIC, 1, 2**63, 4), "a backing file: 4 bytes"),
        (struct.pack(">4sIQI", _MAGIC, 1, 48, 1024), "a backing file: 1024 bytes"),
        (qed(features=1, offset=64, size=2**32 - 1), "a backing file: 4294967295 bytes"),
    ],
)
def test_header_that_qemu_would_not_take_is_a_problem(content: bytes, problem: str) -> None:
    header = read(content)
    assert problem in header.problem
    assert (header.format, header.backing) == ("", "")


@pytest.mark.parametrize("packet", [b"", b"[", b"{}", b'["", "", "", ""]', b'["", "", "", "", 1]'])
def test_answer_that_is_not_one_is_refused(packet: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_packet(packet)
