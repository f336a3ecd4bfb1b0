# SPDX-License-Identifier: LGPL-2.1-or-later
"""Malformed messages, and messages with invalid fields, have no effect."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.leftovers import children_of
from tests.support.raw_keeper import RawKeeper, raw_keeper
from virtlayer.keeper.answers.connection import ANSWERS
from virtlayer.protocol.messages import Message

_UUID = "01234567-89ab-cdef-0123-456789abcdef"
_LAYER = f"layer-{'0' * 64}.qcow2"
_NO_NAMES = ("", ".", "..", "a/b", "../x", "a\nb", "a\0b", "x" * 256, "\u2028", "\ud800", 7, None)
_NO_VOLUMES = (*_NO_NAMES, ".virtlayer-staging", ".hidden")
_NO_LAYERS = (*_NO_NAMES, "guest.qcow2", f"../{_LAYER}", f"{_LAYER}/", _LAYER.upper())
_NO_UUIDS = ("", "default", _UUID.upper(), f"{_UUID}\n", f"../{_UUID}", 7, None, [_UUID])
_RECORD = f"{'0' * 64}.json"
_NO_RECORDS = (*_NO_NAMES, ".new-1", "lock", "claims", f"../{_RECORD}", f"{_RECORD}\n", "0.json")
_STAMP = {"inode": 1, "changed": 1, "size": 1}
_NO_STAMPS: tuple[object, ...] = (
    {},
    {**_STAMP, "inode": -1},
    {**_STAMP, "size": "1"},
    {**_STAMP, "more": 1},
    1,
    [],
)
_NO_NUMBERS = (-1, 2**53 + 1, 1.0, "1", True, None, [1])

_POOL: dict[str, Any] = {"pool": _UUID}
_EXPECTED: dict[str, Any] = {"name": "guest", "backing": _LAYER, "formats": ["raw"]}
_PROGRAM: dict[str, Any] = {
    "kind": "layer-worker",
    "staging": None,
    "memory": 2**30,
    "cpu_seconds": 10,
    "image": None,
    "writable": False,
}

_PORT: dict[str, Any] = {"address": "", "host": 8080, "guest": 80, "transport": "tcp"}
_NETWORK: dict[str, Any] = {"kind": "user", "name": "", "ports": [_PORT]}
_DOMAIN: dict[str, Any] = {
    **_POOL,
    "step": "define",
    "claim": None,
    "name": "web",
    "uuid": _UUID,
    "type": None,
    "memory": 2**30,
    "processors": 1,
    "network": _NETWORK,
    "boot": "disk",
    "kernel": None,
    "initrd": None,
    "disk": None,
    "disk_format": "qcow2",
    "has_config": False,
    "has_seed": False,
    "has_streams": False,
    "id_map": None,
    "autostart": False,
    "ephemeral": False,
    "image": "",
    "digest": "",
    "os_id": "",
}

_RIGHT: dict[Message, dict[str, Any]] = {
    Message.HELLO: {},
    Message.LIST_POOLS: {},
    Message.FIND_POOL: {"name": "default"},
    Message.FIND_VOLUMES: {**_POOL, "names": ["a"], "refresh": True},
    Message.FIND_FILES: {**_POOL, "names": ["a"]},
    Message.SPACE: _POOL,
    Message.USERS: {**_POOL, "names": [_LAYER]},
    Message.DELETE: {**_POOL, "lock": 1, "names": [_LAYER]},
    Message.SWEEP: _POOL,
    Message.CLAIM: {**_POOL, "claim": None, "names": [_LAYER], "build": ["0" * 64]},
    Message.BEGIN: {"pool_name": "default", "names": [_LAYER], "purpose": "volume"},
    Message.LOCK: _POOL,
    Message.RELEASE: {"number": 1, "failed": False},
    Message.LIST_RECORDS: {**_POOL, "since": None, "known": None},
    Message.READ_RECORDS: {**_POOL, "files": [_RECORD]},
    Message.PUT_RECORD: {
        **_POOL,
        "kind": "image",
        "name": "docker.io/library/debian:13",
        "expected": _STAMP,
        "holder": 1,
        "durable": True,
    },
    Message.STAGE: {**_POOL, "claim": 1, "purpose": "layers"},
    Message.CREATE_OVERLAY: {
        "staging": 1,
        "file": "volume.qcow2",
        "size": 2**26,
        "backing": _LAYER,
    },
    Message.LINK: {"staging": 1, "names": [_LAYER]},
    Message.FLUSH: {"staging": 1, "file": "v1"},
    Message.PLACE: {"staging": 1, "file": "v1", "name": _LAYER, "build": None},
    Message.REGISTER: {**_POOL, "volumes": [_EXPECTED]},
    Message.WITHDRAW: {**_POOL, "name": "guest.qcow2"},
    Message.START_PROGRAM: _PROGRAM,
    Message.WAIT_PROGRAM: {"program": 1},
    Message.END_PROGRAM: {"program": 1, "kill": True},
    Message.DEFINE_DOMAIN: _DOMAIN,
    Message.LIST_DOMAINS: {"since": None, "name": None},
    Message.CONTROL_DOMAIN: {**_POOL, "uuid": _UUID, "action": "start"},
    Message.OPEN_PORT: {"uuid": _UUID, "port": "output", "rotated": 0},
}
"""A request of each message that is well-formed."""
_WORKS_ANYWHERE = {Message.HELLO, Message.LIST_POOLS, Message.LIST_DOMAINS}

_WRONG: dict[tuple[Message, str], tuple[object, ...]] = {
    (Message.FIND_POOL, "name"): _NO_NAMES,
    (Message.FIND_VOLUMES, "names"): ("a", {"a": 1}, *([name] for name in _NO_NAMES)),
    (Message.FIND_VOLUMES, "refresh"): (0, "true", None),
    (Message.FIND_FILES, "names"): ([["a"]], *([name] for name in _NO_NAMES)),
    (Message.USERS, "names"): tuple([name] for name in _NO_LAYERS),
    (Message.DELETE, "lock"): _NO_NUMBERS,
    (Message.DELETE, "names"): tuple([_LAYER, name] for name in _NO_VOLUMES),
    (Message.CLAIM, "claim"): tuple(number for number in _NO_NUMBERS if number is not None),
    (Message.CLAIM, "names"): (_LAYER, *([name] for name in _NO_VOLUMES)),
    (Message.CLAIM, "build"): (
        "0" * 64,
        [1],
        [None],
        ["0" * 63],
        ["0" * 65],
        ["F" * 64],
        ["x" * 64],
    ),
    (Message.BEGIN, "pool_name"): _NO_NAMES,
    (Message.BEGIN, "names"): (_LAYER, *([name] for name in _NO_VOLUMES)),
    (Message.BEGIN, "purpose"): ("", "anything", 1, None),
    (Message.RELEASE, "number"): _NO_NUMBERS,
    (Message.LIST_RECORDS, "since"): _NO_STAMPS,
    (Message.LIST_RECORDS, "known"): (1, "0" * 63, "x" * 64, ["0" * 64]),
    (Message.READ_RECORDS, "files"): (_RECORD, *([name] for name in _NO_RECORDS)),
    (Message.PUT_RECORD, "kind"): ("", "claim", "../x", 1, None),
    (Message.PUT_RECORD, "name"): ("", ".", "..", "a\nb", "a\0b", "x" * 256, "\ud800", 7, None),
    (Message.PUT_RECORD, "expected"): _NO_STAMPS,
    (Message.PUT_RECORD, "holder"): _NO_NUMBERS,
    (Message.PUT_RECORD, "durable"): (0, "no", None),
    (Message.STAGE, "claim"): _NO_NUMBERS,
    (Message.STAGE, "purpose"): ("", "anything", 1, None),
    (Message.RELEASE, "failed"): (0, "no", None),
    (Message.CREATE_OVERLAY, "staging"): _NO_NUMBERS,
    (Message.CREATE_OVERLAY, "size"): (0, 2**63, "64M", None),
    (Message.CREATE_OVERLAY, "file"): ("/etc/passwd", *_NO_VOLUMES),
    (Message.CREATE_OVERLAY, "backing"): (
        "/etc/passwd",
        *(name for name in _NO_VOLUMES if name is not None),
    ),
    (Message.LINK, "names"): tuple([name] for name in _NO_LAYERS),
    (Message.FLUSH, "file"): _NO_VOLUMES,
    (Message.PLACE, "file"): _NO_VOLUMES,
    (Message.PLACE, "name"): _NO_VOLUMES,
    (Message.PLACE, "build"): ("", "0" * 63, "F" * 64, 1, ["0" * 64]),
    (Message.REGISTER, "volumes"): (
        *({}, [None], [{"name": "guest", "backing": None}]),
        *([{**_EXPECTED, "name": name}] for name in _NO_VOLUMES),
        *([{**_EXPECTED, "backing": name}] for name in ("../guest", f"../{_LAYER}", ".x")),
        *([{**_EXPECTED, "formats": formats}] for formats in ("raw", ["a\nb"], None)),
    ),
    (Message.WITHDRAW, "name"): _NO_VOLUMES,
    (Message.START_PROGRAM, "kind"): ("", "bash", "/bin/sh", None),
    (Message.START_PROGRAM, "image"): tuple(name for name in _NO_VOLUMES if name is not None),
    (Message.START_PROGRAM, "writable"): (0, "true", None),
    (Message.START_PROGRAM, "memory"): (0, 2**40, *_NO_NUMBERS),
    (Message.START_PROGRAM, "cpu_seconds"): (0, 10**9, *_NO_NUMBERS),
    (Message.END_PROGRAM, "kill"): (0, "no", None),
    (Message.DEFINE_DOMAIN, "step"): ("", "define-and-start", None),
    (Message.DEFINE_DOMAIN, "claim"): tuple(one for one in _NO_NUMBERS if one is not None),
    **{
        (Message.DEFINE_DOMAIN, field): (0, "no", None)
        for field in ("has_config", "has_seed", "has_streams", "autostart", "ephemeral")
    },
    **{
        (Message.DEFINE_DOMAIN, field): ("a\nb", "x" * 1025, 7, None)
        for field in ("image", "digest", "os_id", "disk_format")
    },
    (Message.DEFINE_DOMAIN, "initrd"): tuple(name for name in _NO_VOLUMES if name is not None),
    (Message.DEFINE_DOMAIN, "name"): ("a\nb", "x" * 1025, 7, None),
    (Message.DEFINE_DOMAIN, "uuid"): _NO_UUIDS,
    (Message.DEFINE_DOMAIN, "type"): ("xen", "", 1),
    (Message.DEFINE_DOMAIN, "memory"): (0, 2**60, *_NO_NUMBERS),
    (Message.DEFINE_DOMAIN, "processors"): (0, 2**20, *_NO_NUMBERS),
    (Message.DEFINE_DOMAIN, "boot"): ("", "/boot/vmlinuz", None),
    (Message.DEFINE_DOMAIN, "kernel"): tuple(name for name in _NO_VOLUMES if name is not None),
    (Message.DEFINE_DOMAIN, "disk"): tuple(name for name in _NO_VOLUMES if name is not None),
    (Message.DEFINE_DOMAIN, "id_map"): ({}, {"base": -1, "count": 1}, [0, 1]),
    (Message.DEFINE_DOMAIN, "network"): (
        *(None, "user", {}, {**_NETWORK, "kind": "vde"}, {**_NETWORK, "name": "a\nb"}),
        *({**_NETWORK, "ports": [{**_PORT, "host": port}]} for port in (0, 65536, "80")),
        *({**_NETWORK, "ports": [{**_PORT, "transport": one}]} for one in ("sctp", None)),
    ),
    (Message.LIST_DOMAINS, "since"): tuple(one for one in _NO_NUMBERS if one is not None),
    (Message.LIST_DOMAINS, "name"): ("a\nb", 7),
    (Message.CONTROL_DOMAIN, "uuid"): _NO_UUIDS,
    (Message.CONTROL_DOMAIN, "action"): ("", "reboot", None),
    (Message.OPEN_PORT, "uuid"): _NO_UUIDS,
    (Message.OPEN_PORT, "port"): ("", "/etc/shadow", "console.log", None),
    (Message.OPEN_PORT, "rotated"): _NO_NUMBERS,
}

_FIELDS = {
    "pool": _NO_UUIDS,
    "staging": tuple(number for number in _NO_NUMBERS if number is not None),
    "program": _NO_NUMBERS,
}


def test_every_message_is_answered_and_tested() -> None:
    # Room for those of machines.
    assert len(Message) <= 30
    assert set(ANSWERS) == set(Message) == set(_RIGHT)
    for message, content in _RIGHT.items():
        for name in content:
            assert name in _FIELDS or (message, name) in _WRONG, (message, name)


@pytest.mark.parametrize("message", Message)
def test_wrong_fields_are_refused(message: Message) -> None:
    right = _RIGHT[message]
    with raw_keeper() as keeper:
        before = _state(keeper)
        assert keeper.ask(message, **right, surplus=1).refused
        for name in right:
            assert keeper.ask(message, **{**right, name: {"deep": [[[]]]}}).refused
            assert keeper.ask(message, **{key: right[key] for key in right if key != name}).refused
            for wrong in (*_FIELDS.get(name, ()), *_WRONG.get((message, name), ())):
                assert keeper.ask(message, **{**right, name: wrong}).refused, (name, wrong)
        assert _state(keeper) == before
        # What is well-formed is looked at, and means nothing to this keeper.
        reply = keeper.ask(message, **right)
        assert not reply.refused
        assert reply.error or message in _WORKS_ANYWHERE
        assert _state(keeper)[1] == set()


@pytest.mark.parametrize("ask", ["", "shell", "find_pool", "FIND-POOL", "x" * 10_000])
def test_messages_that_there_are_not_are_refused(ask: str) -> None:
    with raw_keeper() as keeper:
        assert keeper.ask(ask).refused


_NO_MESSAGES = {
    "no JSON": b"{",
    "no UTF-8": b"\xff\xfe",
    "no object": b"[]",
    "a number": b"1",
    "deeply nested": b"[" * 60_000,
    "deeply nested object": b'{"a":' * 10_000,
    "no id": json.dumps({"ask": "hello", "with": {}}).encode(),
    "id is text": json.dumps({"id": "1", "ask": "hello", "with": {}}).encode(),
    "no content": json.dumps({"id": 1, "ask": "hello"}).encode(),
    "content is a list": json.dumps({"id": 1, "ask": "hello", "with": []}).encode(),
    "too long": b" " * (64 * 1024 + 1),
    "a piece of no message": json.dumps({"piece": "[", "last": True}).encode(),
}


@pytest.mark.parametrize("packet", _NO_MESSAGES.values(), ids=_NO_MESSAGES)
def test_malformed_request_closes_the_connection(packet: bytes) -> None:
    with raw_keeper() as keeper, tempfile.TemporaryFile() as file:
        keeper.send(packet, [file.fileno()])
        assert keeper.is_closed()
        status, log = keeper.ended()
        assert (status, "Traceback" in log) == (0, False)


def test_too_many_descriptors_end_the_connection() -> None:
    with raw_keeper() as keeper, tempfile.TemporaryFile() as file:
        keeper.send({"id": 1, "ask": "hello", "with": {}}, [file.fileno()] * 5)
        assert keeper.is_closed()


def test_a_request_without_an_end_ends_the_connection() -> None:
    with raw_keeper() as keeper:
        piece = json.dumps({"piece": "x" * 60_000}).encode()
        try:
            for _ in range(20):
                keeper.send(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            assert keeper.is_closed()
        assert _peak_of(keeper) < 64 * 2**20


def test_a_long_request_may_come_in_pieces() -> None:
    with raw_keeper() as keeper:
        request = json.dumps({"id": 1, "ask": "hello", "with": {}})
        for start in range(len(request)):
            last = {"last": True} if start == len(request) - 1 else {}
            keeper.send({"piece": request[start], **last})
        assert json.loads(keeper.connection.recv(1024))["done"] == {"root": os.geteuid() == 0}


def test_unexpected_descriptors_are_closed() -> None:
    with raw_keeper() as keeper, tempfile.TemporaryFile() as file:
        before = _state(keeper)
        for _ in range(20):
            assert keeper.ask("hello", [file.fileno()] * 4).error == ""
        assert _state(keeper) == before


def _state(keeper: RawKeeper) -> tuple[int, set[int]]:
    """How many descriptors the keeper has, and its children."""
    keeper.get("hello")
    descriptors = len(list(Path(f"/proc/{keeper.process.pid}/fd").iterdir()))
    return descriptors, children_of(keeper.process.pid)


def _peak_of(keeper: RawKeeper) -> int:
    """The most memory that the keeper had, in bytes; 0 if it has ended."""
    try:
        status = Path(f"/proc/{keeper.process.pid}/status").read_text()
    except FileNotFoundError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
