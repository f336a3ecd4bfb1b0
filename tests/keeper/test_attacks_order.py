# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests that a compromised service sends at the same time, or in a wrong order."""

import json
import os
import select
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import claim_of, directory_of, pairs, staged, start, write
from tests.support.leftovers import children_of
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import unfinished_in
from tests.support.raw_keeper import RawKeeper, raw_keeper
from tests.support.waiting import stop, wait_until
from virtlayer.keeper.answers.holdings import PROGRAMS_LIMIT, Holdings
from virtlayer.keeper.beneath import open_directory
from virtlayer.protocol.descriptors import OwnedDescriptor

_PROGRAM = {"memory": 2**30, "cpu_seconds": 60, "image": None, "writable": False}
_OVERLAY: dict[str, Any] = {
    "file": "volume.qcow2",
    "size": 2**26,
    "backing": f"layer-{'0' * 64}.qcow2",
}


def _at_once(
    keeper: RawKeeper, *requests: tuple[str, dict[str, Any], list[int]]
) -> list[dict[str, Any]]:
    """Send requests before any is answered; the answers, in the order of the requests."""
    stop(keeper.process.pid)
    for number, (message, content, descriptors) in enumerate(requests):
        keeper.send({"id": number, "ask": message, "with": content}, descriptors)
    os.kill(keeper.process.pid, signal.SIGCONT)
    replies = {}
    for _ in requests:
        packet, received, _, _ = socket.recv_fds(keeper.connection, 2**20, 16)
        for descriptor in received:
            os.close(descriptor)
        reply = json.loads(packet)
        replies[reply["id"]] = reply
    return [replies[number] for number in range(len(requests))]


@pytest.mark.parametrize(
    ("purpose", "kind", "file"),
    [("contained-directory", "directory-worker", "root"), ("disk", "disk-worker", "disk")],
)
def test_a_program_that_is_being_started_counts_as_one_that_writes(
    keeper: RawKeeper, pool: TestPool, purpose: str, kind: str, file: str
) -> None:
    """Otherwise it could write into what was checked already."""
    staging = staged(keeper, pool, purpose)
    with pairs(socket.SOCK_SEQPACKET) as [control]:
        started, flushed = _at_once(
            keeper,
            ("start-program", {"kind": kind, "staging": staging, **_PROGRAM}, [control]),
            ("flush", {"staging": staging, "file": file}, []),
        )
    assert "done" in started
    assert "still being written" in flushed["text"]
    keeper.get("release", number=staging, failed=False)


def test_an_overlay_that_is_being_created_counts_as_one_that_is_written(
    keeper: RawKeeper, pool: TestPool
) -> None:
    staging = staged(keeper, pool, "volume")
    created, flushed = _at_once(
        keeper,
        ("create-overlay", {"staging": staging, **_OVERLAY}, []),
        ("flush", {"staging": staging, "file": "volume.qcow2"}, []),
    )
    assert "still being written" in flushed["text"]
    assert created["done"]["status"] == 0
    assert "is finished" in keeper.ask("create-overlay", staging=staging, **_OVERLAY).text
    keeper.get("release", number=staging, failed=False)


def test_an_overlay_is_not_finished_while_another_program_can_write_it(
    keeper: RawKeeper, pool: TestPool
) -> None:
    staging = staged(keeper, pool, "volume")
    request = ("create-overlay", {"staging": staging, **_OVERLAY}, list[int]())
    replies = _at_once(keeper, *[request] * 8)
    finished = [reply for reply in replies if reply.get("done", {}).get("status") == 0]
    assert len(finished) <= 1
    # The others failed, or ended before the last one.
    assert all(reply in finished or _has_failed(reply) for reply in replies)
    assert children_of(keeper.process.pid) == set()
    keeper.get("release", number=staging, failed=False)


def _has_failed(reply: dict[str, Any]) -> bool:
    if "done" in reply:
        return bool(reply["done"]["status"] != 0)
    reasons = ("still being written", "was flushed before", "is finished")
    return any(reason in reply["text"] for reason in reasons)


@pytest.mark.parametrize("kind", ["disk-worker", "disk-inspector"])
def test_no_program_gets_a_disk_that_was_placed(
    keeper: RawKeeper, pool: TestPool, kind: str
) -> None:
    staging = staged(keeper, pool, "disk")
    keeper.get("flush", staging=staging, file="disk")
    keeper.get("place", staging=staging, file="disk", name="guest", build=None)
    reading, writing = os.pipe()
    with pairs(socket.SOCK_SEQPACKET) as [control]:
        descriptor = writing if kind == "disk-inspector" else control
        assert "is finished" in start(keeper, kind, descriptor, staging=staging).text
    for descriptor in (reading, writing):
        os.close(descriptor)
    assert stat.S_IMODE((pool.path / "guest").stat().st_mode) == 0o600
    keeper.get("release", number=staging, failed=False)


def test_a_volume_is_not_finished_while_a_program_has_it(keeper: RawKeeper, pool: TestPool) -> None:
    """The program could change it later, when a machine uses it."""
    staging = staged(keeper, pool, "volume")
    with pairs(socket.SOCK_STREAM) as [monitor], socket.socket(socket.AF_UNIX) as server:
        server.bind("")
        server.listen()
        sockets = (monitor, server.fileno())
        program = start(keeper, "storage-daemon", *sockets, staging=staging)
        os.close(program.descriptors[0])
        write(pool, "v1")
        assert "still being written" in keeper.ask("flush", staging=staging, file="v1").text
        keeper.get("end-program", program=program.done["program"], kill=True)
        keeper.get("flush", staging=staging, file="v1")
        assert "is finished" in start(keeper, "storage-daemon", *sockets, staging=staging).text
    keeper.get("release", number=staging, failed=False)


def test_second_request_for_an_end_waits_too(keeper: RawKeeper) -> None:
    with pairs(socket.SOCK_SEQPACKET) as [control]:
        program = start(keeper, "unpacker", control)
    [pidfd] = program.descriptors
    end = {"program": program.done["program"], "kill": True}
    for number in range(2):
        keeper.send({"id": number, "ask": "end-program", "with": end})
    keeper.connection.recv(1024)
    assert select.select([pidfd], [], [], 0)[0], "the program still runs"
    os.close(pidfd)
    keeper.connection.recv(1024)


def test_staging_directories_that_are_asked_for_at_once_are_counted(
    keeper: RawKeeper, pool: TestPool
) -> None:
    request = {"pool": pool.uuid, "claim": claim_of(keeper, pool), "purpose": "layers"}
    replies = _at_once(keeper, *(("stage", request, []) for _ in range(70)))
    made = [reply["done"]["staging"] for reply in replies if "done" in reply]
    assert len(made) == 64
    for number in made:
        keeper.get("release", number=number, failed=False)


async def test_programs_that_are_being_started_are_counted() -> None:
    holdings = Holdings()
    contexts = [holdings.starting_program(None) for _ in range(PROGRAMS_LIMIT)]
    for context in contexts:
        context.__enter__()
    with pytest.raises(Exception, match="256 running programs"), holdings.starting_program(None):
        pytest.fail("one too many")
    for context in contexts:
        context.__exit__(None, None, None)
    with holdings.starting_program(None):
        pass


def test_a_staging_directory_is_discarded_while_a_program_is_started(
    keeper: RawKeeper, pool: TestPool
) -> None:
    """The program is not left behind, and gets no descriptor of anything else."""
    staging = staged(keeper, pool, "disk")
    with pairs(socket.SOCK_SEQPACKET) as [control]:
        request = {"kind": "disk-worker", "staging": staging, **_PROGRAM}
        started, discarded = _at_once(
            keeper,
            ("start-program", request, [control]),
            ("release", {"number": staging, "failed": False}, []),
        )
    assert ("was discarded" in started["text"], discarded["done"]) == (True, {})
    assert unfinished_in(pool.path) == []
    children = Path(f"/proc/{keeper.process.pid}/task/{keeper.process.pid}/children")
    assert children.read_text() == ""


def test_a_staging_directory_is_discarded_while_an_overlay_is_created(
    keeper: RawKeeper, pool: TestPool
) -> None:
    staging = staged(keeper, pool, "volume")
    created, discarded = _at_once(
        keeper,
        ("create-overlay", {"staging": staging, **_OVERLAY}, []),
        ("release", {"number": staging, "failed": False}, []),
    )
    assert ("was discarded" in created["text"], discarded["done"]) == (True, {})
    assert unfinished_in(pool.path) == []
    assert children_of(keeper.process.pid) == set()


def has_answered(keeper: RawKeeper) -> bool:
    """Whether there is an answer to be received."""
    return bool(select.select([keeper.connection], [], [], 0)[0])


def test_an_overlay_that_is_being_created_ends_with_the_connection(
    host: LibvirtHost, pool: TestPool
) -> None:
    with raw_keeper(host.uri) as other:
        other.get("find-pool", name=pool.name)
        staging = staged(other, pool, "volume")
        request = {"staging": staging, **_OVERLAY}
        other.send({"id": 1, "ask": "create-overlay", "with": request})
        # It may have been created before the program is seen.
        wait_until(lambda: children_of(other.process.pid) or has_answered(other))
        other.connection.close()
        assert other.ended()[0] == 0
    assert unfinished_in(pool.path) == []


def test_a_descriptor_stays_open_while_a_thread_uses_it(tmp_path: Path) -> None:
    """Another file could get the number of one that was closed."""
    descriptor = OwnedDescriptor(open_directory(tmp_path))
    number = int(descriptor)
    used_by_a_thread = [descriptor]
    del descriptor
    assert os.path.samestat(os.fstat(number), tmp_path.stat())
    used_by_a_thread.clear()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_requests_on_a_directory_that_is_discarded_meanwhile_touch_no_other(
    keeper: RawKeeper, pool: TestPool
) -> None:
    """The descriptors of the discarded one are reused for the next ones."""
    guest = pool.path / "guest"
    guest.write_bytes(b"somebody's")
    guest.chmod(0o644)
    for _ in range(20):
        staging = staged(keeper, pool, "layers")
        assert directory_of(pool).exists()
        _at_once(
            keeper,
            *(("flush", {"staging": staging, "file": "guest"}, []) for _ in range(30)),
            ("release", {"number": staging, "failed": False}, []),
            *(("find-files", {"pool": pool.uuid, "names": ["guest"]}, []) for _ in range(30)),
        )
    assert stat.S_IMODE(guest.stat().st_mode) == 0o644
