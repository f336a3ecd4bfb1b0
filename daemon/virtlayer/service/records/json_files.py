# SPDX-License-Identifier: LGPL-2.1-or-later
"""The JSON of records. A record may be written by any user with write access to the pool.

A record is ``{"version": 1, "kind": ..., ...}``, where ``kind`` selects the class of ``values``
with the other fields. A field that is missing, unknown, duplicate or of a wrong type or value makes
the whole record invalid.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from virtlayer.protocol.boot_names import BootPart
from virtlayer.protocol.codec import decode, encode
from virtlayer.protocol.packets import Malformed
from virtlayer.protocol.records import RECORD_LIMIT, RecordKind, record_file
from virtlayer.service.records.values import (
    BootRecord,
    ImageRecord,
    LayerRecord,
    Record,
    VolumeRecord,
)
from virtlayer.service.source.digest import hasher

VERSION = 1
_VALUES_LIMIT = 500_000
"""The limit of objects, lists and their elements; each uses up to 64 bytes of memory."""
_DIGITS_LIMIT = 20
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""An unterminated string matches as well. Otherwise the search would try each quote in it as a
start, in time quadratic in the length."""
_LATER_FIELDS: Mapping[str, Mapping[str, object]] = {RecordKind.LAYER: {"identity": None}}
"""The values of fields that a record of an earlier virtlayer does not have, by its kind."""
_CLASSES: Mapping[str, type[Record]] = {
    RecordKind.IMAGE: ImageRecord,
    RecordKind.LAYER: LayerRecord,
    RecordKind.VOLUME: VolumeRecord,
    RecordKind.DIRECTORY: VolumeRecord,
    RecordKind.DISK: VolumeRecord,
    RecordKind.BOOT: BootRecord,
}


class BadRecord(Exception):
    """A file is not a valid record; the text is the reason, as part of a sentence."""


def compose(record: Record) -> bytes:
    """Return the content of the file of a record.

    The configs of the oldest former versions of an image are omitted if the file would be too
    large.

    Raises:
        BadRecord: The content could not be parsed; an invalid record must not be written to a
            pool.
    """
    table = encode(record)
    content = _dumped(table)
    for version in reversed(table.get("former", [])):
        if len(content) <= RECORD_LIMIT:
            break
        version["config"] = None
        content = _dumped(table)
    parse(record_file(record.kind, record.name), content)
    return content


def parse(file: str, content: bytes) -> Record:
    """Parse a record.

    Args:
        file: The name of its file.
        content: The content of its file.

    Raises:
        BadRecord: The record is invalid.
    """
    table = _table(content)
    version = table.pop("version", None)
    if type(version) is not int or version != VERSION:
        raise BadRecord(f"its version is not {VERSION}, the only one that this virtlayer knows")
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in _CLASSES:
        raise BadRecord("its kind is not one that this virtlayer knows")
    try:
        record: Record = decode(_CLASSES[kind], {**_LATER_FIELDS.get(kind, {}), **table})
        _check(record)
    except Malformed as error:
        raise BadRecord(f"a field is missing, unknown or invalid: {error}") from error
    if record_file(record.kind, record.name) != file:
        raise BadRecord("its file does not have the name that belongs to its kind and name")
    return record


def _dumped(table: dict[str, Any]) -> bytes:
    text = json.dumps({"version": VERSION, **table}, ensure_ascii=False)
    return f"{text}\n".encode()


def _table(content: bytes) -> dict[str, Any]:
    if len(content) > RECORD_LIMIT:
        raise BadRecord(f"it has {len(content)} bytes, more than {RECORD_LIMIT}")
    # This check precedes the parser: a nested list takes 2 bytes in JSON and 64 in memory.
    plain = _STRING.sub(b"", content)
    if sum(plain.count(character) for character in (b"[", b"{", b",")) > _VALUES_LIMIT:
        raise BadRecord(f"it has more than {_VALUES_LIMIT} values")
    try:
        table = json.loads(
            content.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError) as error:
        raise BadRecord("it is not JSON of the kind that virtlayer writes") from error
    if not isinstance(table, dict):
        raise BadRecord("it is not a JSON object")
    return table


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key is given twice")
    return table


def _integer(text: str) -> int:
    if len(text) > _DIGITS_LIMIT:
        raise ValueError("a number is too large")
    return int(text)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not an integer")


def _check(record: Record) -> None:
    """Check that the fields of a record are consistent.

    Raises:
        Malformed: The fields are inconsistent.
    """
    match record:
        case ImageRecord():
            if not record.layers or record.layers[-1].volume != record.volume:
                raise Malformed("the top volume is not that of the last layer")
            if digest_of_config(record) != record.image_id:
                raise Malformed("the config does not have the digest of the image")
            for version in record.former:
                if not version.volumes or version.volumes[-1] != version.volume:
                    raise Malformed("the top volume of a former version is not its last one")
        case VolumeRecord():
            backing = [name for name in (record.top, record.disk) if name is not None]
            if len(backing) != (record.kind is RecordKind.VOLUME):
                raise Malformed("a writable volume has one backing volume, and no other has one")
            if record.machine is not None and record.kind is RecordKind.DISK:
                raise Malformed("a disk belongs to no machine")
            if record.disk == record.name:
                raise Malformed("a volume cannot be backed by itself")
            if record.id_base is not None and record.kind is not RecordKind.DIRECTORY:
                raise Malformed("only a directory has mapped ids")
        case BootRecord():
            _check_boot(record)
        case LayerRecord():
            pass


def _check_boot(record: BootRecord) -> None:
    versions = [kernel.version for kernel in record.kernels]
    if versions != sorted(set(versions)):
        raise Malformed("the kernels are not in the order of their versions")
    for kernel in record.kernels:
        initrds = (kernel.image_initrd, kernel.own_initrd)
        if _is_initrd(kernel.kernel) or any(one and not _is_initrd(one) for one in initrds):
            raise Malformed("a kernel is an initrd, or an initrd is a kernel")
        if bool(kernel.tools) != (kernel.own_initrd is not None):
            raise Malformed("an initrd of ours was composed of nothing")


def _is_initrd(volume: str | None) -> bool:
    return volume is not None and volume.startswith(BootPart.INITRD)


def digest_of_config(image: ImageRecord) -> str:
    """Return the digest of an image's config, by the algorithm of its ID."""
    digest = hasher(image.image_id)
    digest.update(image.config.encode())
    return f"{digest.name}:{digest.hexdigest()}"
