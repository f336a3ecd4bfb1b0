# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records of pools: listed, read and replaced whole, whatever a service or a pool's owner sends."""

import contextlib
import fcntl
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import claim_of, delete, pairs, write
from tests.support.pool_content import names_in
from tests.support.raw_keeper import RawKeeper, Reply
from virtlayer.protocol.records import READ_LIMIT, RECORD_LIMIT

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@contextlib.contextmanager
def sealed(content: bytes, seals: int = _SEALS) -> Iterator[int]:
    """A memory file."""
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(descriptor, content)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield descriptor
    finally:
        os.close(descriptor)


def file_of(kind: str, name: str) -> str:
    """The name of a record's file."""
    return f"{hashlib.sha256(f'{kind} {name}'.encode()).hexdigest()}.json"


@pytest.fixture
def holder(keeper: RawKeeper, pool: TestPool) -> int:
    """The number of a claim."""
    number: int = keeper.get("claim", pool=pool.uuid, claim=None, names=[], build=[])["claim"]
    return number


def put(
    keeper: RawKeeper, pool: TestPool, holder: int, name: str, content: bytes | None, expected: Any
) -> Any:
    """Write or delete the record of an image."""
    request = {
        "kind": "image",
        "name": name,
        "expected": expected,
        "holder": holder,
        "durable": True,
    }
    with sealed(content or b"") as descriptor:
        descriptors = () if content is None else (descriptor,)
        return keeper.get("put-record", descriptors, pool=pool.uuid, **request)


def listed(keeper: RawKeeper, pool: TestPool, since: Any = None) -> Any:
    """List the records."""
    return keeper.get("list-records", pool=pool.uuid, since=since, known=None)


def read(keeper: RawKeeper, pool: TestPool, *files: str) -> list[tuple[Any, bytes]]:
    """Read records: what was found, and their contents."""
    reply = keeper.ask("read-records", pool=pool.uuid, files=files)
    assert reply.error == "", reply
    [descriptor] = reply.descriptors
    with os.fdopen(descriptor, "rb") as file:
        content = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
        assert fcntl.fcntl(file.fileno(), fcntl.F_GET_SEALS) & _SEALS == _SEALS
    found = []
    for record in reply.done["records"]:
        found.append((record, content[: record["length"]]))
        content = content[record["length"] :]
    assert content == b""
    return found


def test_a_record_is_written_replaced_and_deleted(
    keeper: RawKeeper, pool: TestPool, holder: int
) -> None:
    name = "docker.io/library/debian:13"
    first = put(keeper, pool, holder, name, b'{"first": 1}', None)["stamp"]
    path = pool.path / ".virtlayer" / file_of("image", name)
    assert path.read_bytes() == b'{"first": 1}'
    assert path.stat().st_mode & 0o777 == 0o600
    assert listed(keeper, pool)["records"] == [{"file": path.name, "stamp": first}]
    second = put(keeper, pool, holder, name, b"{}", first)
    assert not second["changed"]
    assert second["stamp"] != first
    assert read(keeper, pool, path.name) == [
        ({"stamp": second["stamp"], "length": 2, "problem": ""}, b"{}")
    ]
    assert put(keeper, pool, holder, name, None, second["stamp"]) == {
        "changed": False,
        "stamp": None,
    }
    assert listed(keeper, pool)["records"] == []
    assert sorted(one.name for one in path.parent.iterdir()) == ["claims", "lock"]


def test_a_record_that_another_process_has_changed_is_left(
    keeper: RawKeeper, pool: TestPool, holder: int
) -> None:
    stamp = put(keeper, pool, holder, "a", b"1", None)["stamp"]
    old = {**stamp, "inode": stamp["inode"] + 1}
    for content in (b"2", None):
        for expected in (None, old):
            reply = put(keeper, pool, holder, "a", content, expected)
            assert reply == {"changed": True, "stamp": stamp}
    assert put(keeper, pool, holder, "b", b"2", stamp) == {"changed": True, "stamp": None}
    assert [content for _, content in read(keeper, pool, file_of("image", "a"))] == [b"1"]


def test_the_lock_of_the_pool_is_enough_to_write(keeper: RawKeeper, pool: TestPool) -> None:
    lock = keeper.get("lock", pool=pool.uuid)["lock"]
    assert not put(keeper, pool, lock, "a", b"1", None)["changed"]
    keeper.get("release", number=lock, failed=False)
    request = {"kind": "image", "name": "a", "expected": None, "holder": lock, "durable": True}
    assert "No claim" in keeper.ask("put-record", pool=pool.uuid, **request).text


def test_a_pool_without_records_is_left_alone(keeper: RawKeeper, pool: TestPool) -> None:
    assert listed(keeper, pool) == {
        "present": False,
        "unchanged": False,
        "stamp": None,
        "records": [],
    }
    [(record, _)] = read(keeper, pool, file_of("image", "a"))
    assert record == {"stamp": None, "length": 0, "problem": ""}
    assert list(pool.path.iterdir()) == []


# ---- what is in the place of a record ----


def test_malformed_record_is_reported_and_others_are_read(
    keeper: RawKeeper, pool: TestPool, holder: int
) -> None:
    put(keeper, pool, holder, "right", b"1", None)
    own = pool.path / ".virtlayer"
    bad = {kind: file_of("image", kind) for kind in ("link", "fifo", "directory", "large")}
    (own / bad["link"]).symlink_to("/etc/passwd")
    os.mkfifo(own / bad["fifo"])
    (own / bad["directory"]).mkdir()
    with (own / bad["large"]).open("wb") as file:
        file.truncate(100 * 2**20)
    assert len(listed(keeper, pool)["records"]) == len(bad) + 1
    found = read(keeper, pool, *bad.values(), file_of("image", "right"))
    problems = [record["problem"] for record, _ in found]
    assert problems == [
        f"{bad['link']} is a symbolic link",
        f"{bad['fifo']} is a FIFO",
        f"{bad['directory']} is a directory",
        "it has 104857600 bytes, more than 24 MiB",
        "",
    ]
    assert found[-1][1] == b"1"
    assert all(record["stamp"] for record, _ in found)
    for name in bad.values():
        path = own / name
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_other_names_are_not_listed(keeper: RawKeeper, pool: TestPool, holder: int) -> None:
    put(keeper, pool, holder, "right", b"1", None)
    own = pool.path / ".virtlayer"
    for name in (".new-1-1", "x.json", f"{'a' * 64}.json.bak", f"{'A' * 64}.json", "notes"):
        (own / name).touch()
    assert [one["file"] for one in listed(keeper, pool)["records"]] == [file_of("image", "right")]
    (own / ".new-1-1").unlink()


def test_an_answer_holds_as_many_records_as_fit(
    keeper: RawKeeper, pool: TestPool, holder: int
) -> None:
    names = [f"n{number}" for number in range(4)]
    size = READ_LIMIT // 3 + 1
    for name in names:
        put(keeper, pool, holder, name, name[-1:].encode() * size, None)
    files = [file_of("image", name) for name in names]
    first = read(keeper, pool, *files)
    assert [content[:1] for _, content in first] == [b"0", b"1"]
    rest = read(keeper, pool, *files[2:])
    assert [(content[:1], len(content)) for _, content in rest] == [(b"2", size), (b"3", size)]


# ---- what a compromised service sends ----


def _refused(keeper: RawKeeper, pool: TestPool, holder: int, *descriptors: int) -> Reply:
    request = {"kind": "image", "name": "a", "expected": None, "holder": holder, "durable": True}
    reply = keeper.ask("put-record", descriptors, pool=pool.uuid, **request)
    assert reply.error == "Internal", reply
    assert not (pool.path / ".virtlayer" / file_of("image", "a")).exists()
    return reply


def test_only_a_sealed_memory_file_is_read(keeper: RawKeeper, pool: TestPool, holder: int) -> None:
    reading, writing = os.pipe()
    with (
        tempfile.TemporaryFile() as file,
        sealed(b"open", 0) as open_file,
        sealed(b"half", fcntl.F_SEAL_WRITE) as half,
        sealed(b"1") as right,
        pairs(socket.SOCK_STREAM) as [stream],
        Path("/dev/zero").open("rb") as zero,
        Path("/proc/self/mem").open("rb") as memory,
    ):
        for wrong in (file.fileno(), open_file, half, stream, reading):
            assert "sealed memory file" in _refused(keeper, pool, holder, wrong).text
        for special in (zero, memory):
            assert "sealed memory file" in _refused(keeper, pool, holder, special.fileno()).text
        _refused(keeper, pool, holder, right, right)
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_a_record_is_bounded(keeper: RawKeeper, pool: TestPool, holder: int) -> None:
    with sealed(bytes(RECORD_LIMIT + 1)) as large:
        assert "at most" in _refused(keeper, pool, holder, large).text
    with sealed(bytes(RECORD_LIMIT)) as fits:
        request = {
            "kind": "image",
            "name": "a",
            "expected": None,
            "holder": holder,
            "durable": True,
        }
        assert not keeper.get("put-record", [fits], pool=pool.uuid, **request)["changed"]


def test_a_name_leads_nowhere_else(keeper: RawKeeper, pool: TestPool, holder: int) -> None:
    before = {path.name for path in pool.path.iterdir()}
    for name in ("../../etc/passwd", "/etc/passwd", "a/../../b"):
        put(keeper, pool, holder, name, b"1", None)
        assert (pool.path / ".virtlayer" / file_of("image", name)).exists()
    assert {path.name for path in pool.path.iterdir()} == before


def test_the_record_of_a_layer_is_deleted_with_it(
    keeper: RawKeeper, pool: TestPool, holder: int
) -> None:
    layer = pool.layer("1")
    with sealed(b"{}") as content:
        request = {
            "kind": "layer",
            "name": layer,
            "expected": None,
            "holder": holder,
            "durable": True,
        }
        keeper.get("put-record", [content], pool=pool.uuid, **request)
    assert len(listed(keeper, pool)["records"]) == 1
    assert delete(keeper, pool, layer)["names"] == [layer]
    assert listed(keeper, pool)["records"] == []


# ---- records that come with volumes ----


def _finished(keeper: RawKeeper, pool: TestPool, staging: int, purpose: str) -> str:
    """The name of a flushed file or directory in a staging directory."""
    file = "root" if purpose == "directory" else "v1"
    if purpose != "directory":
        write(pool, file)
    keeper.get("flush", staging=staging, file=file)
    return file


def _place(
    keeper: RawKeeper, pool: TestPool, holder: int, name: str, record: bytes, purpose: str
) -> Any:
    staging = keeper.get("stage", pool=pool.uuid, claim=holder, purpose=purpose)["staging"]
    file = _finished(keeper, pool, staging, purpose)
    with sealed(record) as content:
        request = {"file": file, "name": name, "build": None}
        placed = keeper.get("place", [content], staging=staging, **request)
    keeper.get("release", number=staging, failed=False)
    return placed


def test_volume_is_placed_with_its_record(keeper: RawKeeper, pool: TestPool, holder: int) -> None:
    layer = f"layer-{'1' * 64}.qcow2"
    for kind, purpose, name in (("layer", "layers", layer), ("volume", "volume", "guest")):
        placed = _place(keeper, pool, holder, name, b'{"one": 1}', purpose)
        assert placed["ours"]
        [(record, content)] = read(keeper, pool, file_of(kind, name))
        assert (record["stamp"], content) == (placed["record"], b'{"one": 1}')
        # Another one of that name is not placed, and its record neither.
        again = _place(keeper, pool, holder, name, b"other", purpose)
        assert (again["name"], again["ours"], again["record"]) == (name, False, None)
        assert read(keeper, pool, file_of(kind, name))[0][1] == b'{"one": 1}'


def test_a_record_of_a_deleted_volume_is_replaced(
    keeper: RawKeeper, pool: TestPool, holder: int
) -> None:
    """A layer of one name has one content, and so its record stays."""
    layer = f"layer-{'1' * 64}.qcow2"
    for kind, purpose, name in (("layer", "layers", layer), ("volume", "volume", "guest")):
        _place(keeper, pool, holder, name, b"before", purpose)
        (pool.path / name).unlink()
        placed = _place(keeper, pool, holder, name, b"after", purpose)
        expected = b"before" if kind == "layer" else b"after"
        assert (placed["record"] is None) == (kind == "layer")
        assert read(keeper, pool, file_of(kind, name))[0][1] == expected


def test_a_record_stays_only_if_its_volume_is_placed(
    keeper: RawKeeper, pool: TestPool, holder: int
) -> None:
    staging = keeper.get("stage", pool=pool.uuid, claim=holder, purpose="directory")["staging"]
    request = {"file": "root", "name": "guest", "build": None}
    with sealed(b"{}") as content:
        assert keeper.ask("place", [content], staging=staging, **request).error == "Internal"
        assert listed(keeper, pool)["records"] == []
        keeper.get("flush", staging=staging, file="root")
        (pool.path / "guest").mkdir()
        assert keeper.ask("place", [content], staging=staging, **request).error == "VolumeExists"
        assert listed(keeper, pool)["records"] == []
        (pool.path / "guest").rmdir()
    keeper.get("release", number=staging, failed=False)


def test_a_layer_is_withdrawn_with_its_record_unless_another_job_counts_on_it(
    keeper: RawKeeper, pool: TestPool
) -> None:
    layer = f"layer-{'1' * 64}.qcow2"
    holder, other = claim_of(keeper, pool, layer), claim_of(keeper, pool, layer)
    _place(keeper, pool, holder, layer, b"{}", "layers")
    assert keeper.ask("withdraw", pool=pool.uuid, name=layer).error == "InUse"
    assert (pool.path / layer).exists()
    keeper.get("release", number=other, failed=False)
    keeper.get("withdraw", pool=pool.uuid, name=layer)
    assert names_in(pool.path) == []
    assert listed(keeper, pool)["records"] == []


@pytest.mark.parametrize("purpose", ["volume", "directory"])
def test_volume_is_withdrawn_with_its_record(
    keeper: RawKeeper, pool: TestPool, holder: int, purpose: str
) -> None:
    _place(keeper, pool, holder, "guest", b"{}", purpose)
    keeper.get("withdraw", pool=pool.uuid, name="guest")
    assert names_in(pool.path) == []
    assert listed(keeper, pool)["records"] == []


def test_record_of_a_later_volume_is_not_withdrawn(
    keeper: RawKeeper, pool: TestPool, holder: int
) -> None:
    _place(keeper, pool, holder, "guest", b"{}", "volume")
    [(record, _)] = read(keeper, pool, file_of("volume", "guest"))
    request = {
        "kind": "volume",
        "name": "guest",
        "expected": record["stamp"],
        "holder": holder,
        "durable": True,
    }
    with sealed(b"later") as content:
        assert not keeper.get("put-record", [content], pool=pool.uuid, **request)["changed"]
    keeper.get("withdraw", pool=pool.uuid, name="guest")
    assert [content for _, content in read(keeper, pool, file_of("volume", "guest"))] == [b"later"]


def test_volume_that_libvirt_describes_otherwise_is_removed_with_its_record(
    keeper: RawKeeper, pool: TestPool, holder: int
) -> None:
    _place(keeper, pool, holder, "guest", b"{}", "volume")
    volumes = [{"name": "guest", "backing": None, "formats": ["raw"]}]
    assert keeper.ask("register", pool=pool.uuid, volumes=volumes).error == "Libvirt"
    assert names_in(pool.path) == []
    assert listed(keeper, pool)["records"] == []


@pytest.mark.parametrize("purpose", ["volume", "directory"])
def test_placement_can_be_repeated_when_the_pool_was_locked(
    keeper: RawKeeper, pool: TestPool, holder: int, purpose: str
) -> None:
    staging = keeper.get("stage", pool=pool.uuid, claim=holder, purpose=purpose)["staging"]
    file = _finished(keeper, pool, staging, purpose)
    request = {"staging": staging, "file": file, "name": "guest", "build": None}
    lock = keeper.get("lock", pool=pool.uuid)["lock"]
    with sealed(b"{}") as content:
        assert keeper.ask("place", [content], **request).error == "PoolLocked"
        keeper.get("release", number=lock, failed=False)
        assert keeper.get("place", [content], **request)["ours"]
    keeper.get("release", number=staging, failed=False)


# ---- all pools ----


def test_all_pools_are_listed(keeper: RawKeeper, pool: TestPool) -> None:
    [found] = [one for one in keeper.get("list-pools")["pools"] if one["name"] == pool.name]
    space = os.statvfs(pool.path)
    assert (found["uuid"], found["kind"], found["state"]) == (pool.uuid, "dir", "running")
    assert found["capacity"] == space.f_blocks * space.f_frsize
    assert 0 < found["available"] <= found["capacity"]
