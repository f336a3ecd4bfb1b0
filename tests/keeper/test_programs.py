# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which programs a compromised service can have started, with what, and what they can do."""

import json
import os
import socket
import tempfile
from pathlib import Path

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import pairs, staged, start
from tests.support.leftovers import children_of
from tests.support.raw_keeper import RawKeeper
from tests.support.waiting import PATIENCE, wait_until
from virtlayer import programs

_GUARD = str(Path(programs.__file__).with_name("guard")).encode()
_PURPOSES = {
    "directory-worker": "directory",
    "disk-worker": "disk",
    "kernel-worker": "boot",
    "host-kernel-worker": "boot",
}
_WORKERS = ["layer-worker", "customizer", "identity-customizer", "unpacker"]


@pytest.mark.parametrize("kind", [*_WORKERS, *_PURPOSES])
def test_a_worker_gets_a_socket_of_the_right_type(
    keeper: RawKeeper, pool: TestPool, kind: str
) -> None:
    staging = None if kind in _WORKERS else staged(keeper, pool, _PURPOSES[kind])
    with (
        tempfile.TemporaryFile() as file,
        socket.socket(socket.AF_INET) as inet,
        pairs(socket.SOCK_STREAM, socket.SOCK_SEQPACKET) as [stream, packets],
    ):
        for wrong in ([], [file.fileno()], [inet.fileno()], [stream], [packets, packets]):
            assert start(keeper, kind, *wrong, staging=staging).error == "Internal"
    assert children_of(keeper.process.pid) == set()
    if staging is not None:
        keeper.get("release", number=staging, failed=False)


def test_a_storage_daemon_gets_two_sockets(keeper: RawKeeper, pool: TestPool) -> None:
    staging = staged(keeper, pool)
    with pairs(socket.SOCK_SEQPACKET, socket.SOCK_STREAM) as [packets, stream]:
        for wrong in ([], [stream], [stream, packets], [packets, stream], [stream] * 3):
            assert start(keeper, "storage-daemon", *wrong, staging=staging).error == "Internal"
    assert children_of(keeper.process.pid) == set()
    keeper.get("release", number=staging, failed=False)


def test_an_inspector_gets_a_pipe(keeper: RawKeeper, pool: TestPool) -> None:
    staging = staged(keeper, pool, "disk")
    with pairs(socket.SOCK_STREAM) as [stream], tempfile.TemporaryFile() as file:
        for wrong in ([], [stream], [file.fileno()]):
            assert start(keeper, "disk-inspector", *wrong, staging=staging).error == "Internal"
    assert children_of(keeper.process.pid) == set()
    keeper.get("release", number=staging, failed=False)


@pytest.mark.parametrize(
    ("kind", "purpose"),
    [
        *(("storage-daemon", None), ("storage-daemon", "directory")),
        *(("disk-worker", "volume"), ("disk-inspector", None)),
        *(("kernel-worker", "disk"), ("host-kernel-worker", None), ("disk-worker", "boot")),
        *(("directory-worker", "disk"), ("directory-customizer", None), ("layer-worker", "layers")),
    ],
)
def test_a_program_works_only_where_it_belongs(
    keeper: RawKeeper, pool: TestPool, kind: str, purpose: str | None
) -> None:
    staging = None if purpose is None else staged(keeper, pool, purpose)
    with pairs(socket.SOCK_SEQPACKET) as [control]:
        reply = start(keeper, kind, control, staging=staging)
    assert (reply.error, "cannot run in this staging directory" in reply.text) == ("Internal", True)
    assert children_of(keeper.process.pid) == set()
    if staging is not None:
        keeper.get("release", number=staging, failed=False)


@pytest.mark.parametrize("purpose", ["layers", "disk", "directory"])
def test_an_overlay_is_created_only_where_it_belongs(
    keeper: RawKeeper, pool: TestPool, purpose: str
) -> None:
    staging = staged(keeper, pool, purpose)
    reply = keeper.ask(
        "create-overlay",
        staging=staging,
        file="volume.qcow2",
        size=2**26,
        backing=f"layer-{'0' * 64}.qcow2",
    )
    assert (reply.error, "cannot be created in this staging directory" in reply.text) == (
        "Internal",
        True,
    )
    assert children_of(keeper.process.pid) == set()
    keeper.get("release", number=staging, failed=False)


@pytest.mark.root
def test_no_program_of_roots_keeper_is_root(keeper: RawKeeper, pool: TestPool) -> None:
    staging = staged(keeper, pool)
    with pairs(socket.SOCK_SEQPACKET, socket.SOCK_STREAM, socket.SOCK_STREAM) as ends:
        control, monitor, server = ends
        for kind, descriptors, place in (
            ("layer-worker", [control], None),
            ("storage-daemon", [monitor, server], staging),
        ):
            reply = start(keeper, kind, *descriptors, staging=place)
            child = _pid_of(reply.descriptors[0])
            _wait_for_exec(child)
            fields = _fields(Path(f"/proc/{child}/status"))
            assert "0" not in fields["Uid"].split(), kind
            assert int(fields["CapPrm"], 16) == 0
            assert fields["NoNewPrivs"] == "1"
            os.close(reply.descriptors[0])
            keeper.get("end-program", program=reply.done["program"], kill=True)
    keeper.get("release", number=staging, failed=False)


def _pid_of(pidfd: int) -> int:
    return int(_fields(Path(f"/proc/self/fdinfo/{pidfd}"))["Pid"])


def _fields(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _wait_for_exec(pid: int) -> None:
    def words() -> list[bytes]:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")

    def is_started(words: list[bytes]) -> bool:
        # In the middle of exec(2) there are no words.
        return words[0] not in (b"", _GUARD) and b"virtlayer.keeper" not in words

    wait_until(lambda: is_started(words()))


@pytest.mark.root
def test_qemus_programs_stay_in_their_directory(keeper: RawKeeper, pool: TestPool) -> None:
    """A storage daemon that obeys a compromised service opens nothing elsewhere."""
    outside = pool.path / "guest.img"
    outside.write_bytes(bytes(2**20))
    for path in (pool.path, outside):
        path.chmod(0o777)
    staging = staged(keeper, pool)
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(socket.AF_UNIX) as server:
        server.bind("")
        server.listen()
        sockets = (theirs.fileno(), server.fileno())
        reply = start(keeper, "storage-daemon", *sockets, staging=staging)
        os.close(reply.descriptors[0])
        theirs.close()
        ours.settimeout(PATIENCE)
        stream = ours.makefile("rw")
        stream.readline()
        by_path = {"driver": "file", "node-name": "a", "filename": str(outside)}
        by_name = {**by_path, "read-only": True, "filename": "../../guest.img"}
        for command, arguments in (
            ("qmp_capabilities", {}),
            ("blockdev-add", by_path),
            ("blockdev-add", by_name),
        ):
            stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            stream.flush()
            answer = stream.readline()
            assert command == "qmp_capabilities" or "Permission denied" in answer, answer
        stream.close()
    keeper.get("end-program", program=reply.done["program"], kill=True)
    keeper.get("release", number=staging, failed=False)
    outside.unlink()
