# SPDX-License-Identifier: LGPL-2.1-or-later
"""The JSON of records: it comes back as it was written, and nothing else is accepted."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.support.records import (
    boot_record,
    config,
    digest,
    image_record,
    layer_record,
    volume_record,
)
from virtlayer.protocol.codec import encode
from virtlayer.protocol.records import RECORD_LIMIT, RecordKind, record_file
from virtlayer.service.records.former_versions import replaced
from virtlayer.service.records.json_files import (
    BadRecord,
    compose,
    parse,
)
from virtlayer.service.records.owners import EVERYBODY, Owner, OwnerKind
from virtlayer.service.records.values import (
    BootKernel,
    BuiltLayer,
    FormerVersion,
    ImageLayer,
    Machine,
    Record,
)
from virtlayer.service.source.image import CONFIG_LIMIT

OWNERS = frozenset({EVERYBODY, Owner(OwnerKind.REPOSITORY, "registry.example/team")})
IMAGE = replaced(
    image_record("old", pulled_by=frozenset({0, 1000})),
    image_record("new", name="team/demo:1", config=config("grüß"), image_id=digest(config("grüß"))),
    OWNERS,
    2,
    keep=1,
)
MACHINE = Machine(
    domain="3b0ae4a6-8f43-4bd4-a3a5-6f8a4f3a9d17",
    host="0123456789abcdef" * 2,
    boot_volumes=(f"kernel-{'a' * 64}", f"initrd-{'b' * 64}"),
    expendable=True,
)
LAYER = layer_record("top", "a", "b", below="0" * 64, owners=OWNERS)
RECORDS: tuple[Record, ...] = (
    IMAGE,
    LAYER,
    layer_record("adopted"),
    layer_record("with-identity", identity=True),
    layer_record("without-identity", identity=False),
    volume_record(kind=RecordKind.VOLUME),
    volume_record(kind=RecordKind.VOLUME, machine=MACHINE),
    volume_record(kind=RecordKind.VOLUME, top=None, disk="machine.img", machine=MACHINE),
    volume_record(kind=RecordKind.DIRECTORY, id_base=100_000),
    volume_record(kind=RecordKind.DIRECTORY, machine=MACHINE),
    volume_record(kind=RecordKind.DISK),
    volume_record(kind=RecordKind.DISK, config="{}"),
    boot_record(),
    boot_record(name=f"host-{'0' * 64}"),
)

LATER_FIELDS = {"identity"}
"""Fields that records of earlier versions do not have."""


def file_of(record: Record) -> str:
    return record_file(record.kind, record.name)


def with_field(record: Record, **fields: object) -> bytes:
    return json.dumps(json.loads(compose(record)) | fields).encode()


def without_field(record: Record, field: str) -> bytes:
    table = json.loads(compose(record))
    del table[field]
    return json.dumps(table).encode()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
def test_record_is_read_as_it_was_written(record: Record) -> None:
    content = compose(record)
    assert parse(file_of(record), content) == record
    assert json.loads(content)["version"] == 1


def test_record_names_no_pool_and_no_path() -> None:
    for record in RECORDS:
        assert not {"pool", "path", "host", "inode", "id"} & json.loads(compose(record)).keys()


def test_same_record_has_the_same_bytes() -> None:
    owners = [Owner(OwnerKind.USER, str(uid)) for uid in range(50)]
    assert compose(layer_record("a", "b", owners=owners)) == compose(
        layer_record("a", "b", owners=owners[::-1])
    )


def test_layer_record_of_an_earlier_version_says_nothing_of_an_identity() -> None:
    record = parse(file_of(LAYER), without_field(LAYER, "identity"))
    assert record == dataclasses.replace(LAYER, identity=None)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
def test_missing_or_unknown_field_is_refused(record: Record) -> None:
    for field in json.loads(compose(record)).keys() - LATER_FIELDS:
        with pytest.raises(BadRecord):
            parse(file_of(record), without_field(record, field))
    with pytest.raises(BadRecord):
        parse(file_of(record), with_field(record, path="/etc"))


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2},
        {"version": True},
        {"version": "1"},
        {"kind": "domain"},
        {"kind": ["image"]},
        {"name": ".."},
        {"name": "a\nb"},
        {"name": "x" * 256},
        {"volume": "../../etc/shadow"},
        {"volume": "layer-" + "0" * 64 + ".qcow2"},
        {"layers": []},
        {"layers": [{"diff_id": digest("a"), "volume": "../base", "bytes": 1}]},
        {"digest": "sha256:1"},
        {"digest": "md5:" + "0" * 32},
        {"image_id": digest("another config")},
        {"config": "{}"},
        {"config": "[" * 100_000},
        {"config": "\ud800"},
        {"source": "docker://a/b\x1b[2J"},
        {"source": "x" * 5000},
        {"size": -1},
        {"size": 2**64},
        {"size": True},
        {"pulled_by": [-1]},
        {"pulled_by": {"0": 1}},
        {"owners": [{"kind": "nobody", "name": ""}]},
        {"unsigned_accepted": 1},
        {"former": [{}]},
    ],
    ids=str,
)
def test_invalid_field_of_an_image_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BadRecord):
        parse(file_of(IMAGE), with_field(IMAGE, **fields))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (RecordKind.VOLUME, {"top": None}),
        (RecordKind.VOLUME, {"top": "base.qcow2"}),
        (RecordKind.VOLUME, {"id_base": 1}),
        (RecordKind.DISK, {"id_base": 1}),
        (RecordKind.DISK, {"name": "../web"}),
        (RecordKind.DISK, {"name": ".web"}),
        (RecordKind.DIRECTORY, {"top": image_record().volume}),
        (RecordKind.VOLUME, {"disk": "machine.img"}),
        (RecordKind.VOLUME, {"top": None, "disk": "../machine.img"}),
        (RecordKind.VOLUME, {"top": None, "disk": "web"}),
        (RecordKind.DIRECTORY, {"disk": "machine.img"}),
        (RecordKind.DISK, {"machine": encode(MACHINE)}),
        (RecordKind.VOLUME, {"machine": {}}),
        (RecordKind.VOLUME, {"machine": encode(MACHINE) | {"domain": "web"}}),
        (RecordKind.VOLUME, {"machine": encode(MACHINE) | {"host": "host.example"}}),
        (RecordKind.VOLUME, {"machine": encode(MACHINE) | {"expendable": 1}}),
        (RecordKind.VOLUME, {"machine": encode(MACHINE) | {"boot_volumes": ["../vmlinuz"]}}),
        (RecordKind.VOLUME, {"machine": encode(MACHINE) | {"boot_volumes": [".virtlayer"]}}),
        (RecordKind.DIRECTORY, {"id_base": 2**32}),
    ],
)
def test_invalid_field_of_a_volume_is_refused(kind: RecordKind, fields: dict[str, object]) -> None:
    name = str(fields.get("name", "web"))
    with pytest.raises(BadRecord, match="field"):
        parse(record_file(kind, name), with_field(volume_record(kind=kind), **fields))


BOOT_KERNEL = encode(boot_record().kernels[0])


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "web"},
        {"name": "host-1"},
        {"os_id": "http://debian.org/debian/13'/><devices>"},
        {"os_id": "https://debian.org/debian/13"},
        {"has_init": 1},
        {"kernels": [BOOT_KERNEL, BOOT_KERNEL]},
        {"kernels": [BOOT_KERNEL | {"version": "../6.1"}]},
        {"kernels": [BOOT_KERNEL | {"version": ""}]},
        {"kernels": [BOOT_KERNEL | {"kernel": "vmlinuz"}]},
        {"kernels": [BOOT_KERNEL | {"kernel": f"kernel-{'A' * 64}"}]},
        {"kernels": [BOOT_KERNEL | {"kernel": f"initrd-{'a' * 64}"}]},
        {"kernels": [BOOT_KERNEL | {"own_initrd": f"kernel-{'a' * 64}"}]},
        {"kernels": [BOOT_KERNEL | {"image_initrd": f"kernel-{'a' * 64}"}]},
        {"kernels": [BOOT_KERNEL | {"tools": ""}]},
        {"kernels": [BOOT_KERNEL | {"own_initrd": None}]},
        {"kernels": [BOOT_KERNEL | {"path": "/etc"}]},
    ],
)
def test_invalid_field_of_a_boot_record_is_refused(fields: dict[str, object]) -> None:
    name = str(fields.get("name", boot_record().name))
    with pytest.raises(BadRecord):
        parse(record_file(RecordKind.BOOT, name), with_field(boot_record(), **fields))


@pytest.mark.parametrize("other", [RecordKind.DIRECTORY.DISK])
def test_name_of_another_record_is_refused(other: RecordKind) -> None:
    record = volume_record(kind=RecordKind.VOLUME)
    with pytest.raises(BadRecord, match="does not have the name"):
        parse(record_file(other, record.name), compose(record))
    with pytest.raises(BadRecord, match="does not have the name"):
        parse(record_file(record.kind, "other"), compose(record))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"\xff\xfe",
        b"garbage",
        b"null",
        b"[]",
        b"{}",
        b"[" * 1_000_000,
        b'{"version": ' * 1000,
        b"[" + b"[]," * 600_000 + b"0]",
        b'{"version": ' + b"9" * 100_000 + b"}",
        b'{"version": 1e400}',
        b'{"version": NaN}',
        b'{"version": 1, "version": 1}',
        b"x" * (RECORD_LIMIT + 1),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(BadRecord):
        parse(file_of(LAYER), content)


@pytest.mark.parametrize("end", [b"", b"\\"])
def test_string_that_does_not_end_is_refused_in_linear_time(end: bytes) -> None:
    """In quadratic time, this would take days, in which the process does nothing else."""
    content = b'{"version": 1, "name": "'
    content += b'\\"' * ((RECORD_LIMIT - len(content) - len(end)) // 2) + end
    with pytest.raises(BadRecord):
        parse(file_of(IMAGE), content)


def test_key_that_is_given_twice_is_refused() -> None:
    content = compose(LAYER).replace(b'"version": 1,', b'"version": 1, "below": "",')
    with pytest.raises(BadRecord):
        parse(file_of(LAYER), content)


def test_longest_config_fits_into_a_record() -> None:
    start = config()[:-1] + ', "labels": "'
    # Of these, JSON escapes each one.
    text = start + '\\"' * ((CONFIG_LIMIT - len(start) - 2) // 2) + '"}'
    record = image_record(config=text, image_id=digest(text))
    assert parse(file_of(record), compose(record)) == record


def test_configs_of_old_versions_are_left_out_where_there_is_no_room() -> None:
    record = image_record()
    for number in range(5):
        text = config("x" * (CONFIG_LIMIT - 1000) + str(number))
        newer = image_record(str(number), config=text, image_id=digest(text))
        record = replaced(record, newer, frozenset(), number, keep=5)
    content = compose(record)
    assert len(content) <= RECORD_LIMIT
    read = parse(file_of(record), content)
    assert isinstance(read, type(record))
    assert [version.config is None for version in read.former] == [False, True, True, True, True]
    assert [version.volume for version in read.former] == [one.volume for one in record.former]


def test_nothing_is_written_that_could_not_be_read() -> None:
    with pytest.raises(BadRecord):
        compose(dataclasses.replace(IMAGE, source="a\nb"))


def test_documentation_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs/pools.md").read_text()
    for record in RECORDS:
        for field in json.loads(compose(record)):
            assert f"`{field}`" in page, field
    for kind in (ImageLayer, FormerVersion, BuiltLayer, BootKernel, Owner):
        for value in dataclasses.fields(kind):
            assert f"`{value.name}`" in page, value.name
    for word in (*RecordKind, *OwnerKind):
        assert f"`{word}`" in page, word
