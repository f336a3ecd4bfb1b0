# SPDX-License-Identifier: LGPL-2.1-or-later
"""Types that check the names and numbers that are passed between processes."""

import re
from typing import Annotated

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.names import parse_image_name, parse_volume_name
from virtlayer.protocol.packets import Malformed
from virtlayer.sizes import GIB, MIB

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RECORD = re.compile(r"[0-9a-f]{64}\.json")
_NUMBER_LIMIT = 2**53
_TEXT_LIMIT = 1024


def _is_name(name: str) -> None:
    try:
        parse_volume_name(name)
    except InvalidArgument as error:
        raise Malformed("not a name") from error


def _is_volume(name: str) -> None:
    _is_name(name)
    if name.startswith("."):
        raise Malformed("not a name of a volume")


def _is_layer(name: str) -> None:
    if not is_layer_volume(name):
        raise Malformed("not a name of a layer")


def _is_uuid(text: str) -> None:
    if not _UUID.fullmatch(text):
        raise Malformed("not a UUID")


def _is_record_name(name: str) -> None:
    try:
        parse_image_name(name)
    except InvalidArgument as error:
        raise Malformed("not a name") from error


def _is_record_file(name: str) -> None:
    if not _RECORD.fullmatch(name):
        raise Malformed("not a name of a record's file")


def _is_sha256(text: str) -> None:
    if not _SHA256.fullmatch(text):
        raise Malformed("not a SHA-256 digest")


def _is_printable(text: str) -> None:
    if not text.isprintable() or len(text) > _TEXT_LIMIT:
        raise Malformed("not a printable text")


def at_most(limit: int, least: int = 0) -> object:
    """The check of a number: from ``least`` to ``limit``."""

    def check(number: int) -> None:
        if not least <= number <= limit:
            raise Malformed(f"not from {least} to {limit}")

    return check


PoolName = Annotated[str, _is_name]
Name = Annotated[str, _is_name]
VolumeName = Annotated[str, _is_volume]
"""Of any volume: not of a dot-file, which are the keeper's own."""
LayerName = Annotated[str, _is_layer]
Uuid = Annotated[str, _is_uuid]
Number = Annotated[int, at_most(_NUMBER_LIMIT)]
"""A number that the keeper has given, such as that of a staging directory; or that of a job."""
RecordName = Annotated[str, _is_record_name]
"""The name of the subject of a record; names of images have slashes."""
RecordFile = Annotated[str, _is_record_file]
"""Of the file of a record; ``records.record_file`` gives it."""
Sha256 = Annotated[str, _is_sha256]
BuildKey = Annotated[str, _is_sha256]
"""A key that is the same for two jobs that would build the same layer."""
StampNumber = Annotated[int, at_most(2**64)]
"""An inode, a time in nanoseconds, or a size in bytes."""
Memory = Annotated[int, at_most(64 * GIB, 1)]
"""Bytes of address space."""
Seconds = Annotated[int, at_most(7 * 24 * 60 * 60, 1)]
GuestMemory = Annotated[int, at_most(2**50, MIB)]
"""Bytes of a guest's memory."""
Processors = Annotated[int, at_most(1024, 1)]
PortNumber = Annotated[int, at_most(65535, 1)]
DomainText = Annotated[str, _is_printable]
"""A name or an address in the description of a domain."""
VolumeSize = Annotated[int, at_most(2**63 - 1, 1)]
"""Bytes."""
