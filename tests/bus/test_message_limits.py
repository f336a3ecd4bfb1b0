# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls that are too large or too complex: they cost the service little, and others nothing."""

import asyncio
import os
import struct
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bus.daemon import MANAGER, ROOT, SERVICE, Daemon, virtlayerd
from tests.bus.raw_messages import RawCall, array_of, raw_connection, text
from tests.support.bus_daemon import Bus
from tests.support.waiting import until

MIB = 1024**2
INVALID = "org.virtlayer1.Error.InvalidArgument"
CALL = RawCall(destination=SERVICE, path=ROOT, interface=MANAGER, member="ListImages", serial=7)
VARIANT = b"\1y\0x"
"""A variant with one byte."""


def nested(depth: int) -> bytes:
    """A variant in a variant, and so on."""
    return b"\1v\0" * (depth - 1) + VARIANT


def nested_arrays(depth: int) -> bytes:
    """An array in an array, and so on, around one byte."""
    content = b"x"
    for _ in range(depth):
        content = array_of(content)
    return content


STRUCTS = struct.pack("<II", 8 * 100_000 + 1, 0) + b"\1" + (b"\0" * 7 + b"\1") * 100_000
EXCESSIVE = {
    "32 MiB of nested variants": ("av", array_of(nested(31) * (32 * MIB // 100))),
    "32 MiB of text": ("s", text("x" * 32 * MIB)),
    "32 MiB of bytes": ("ay", array_of(b"x" * 32 * MIB)),
    "eight million numbers": ("au", array_of(b"\1\0\0\0" * 8_000_000)),
    "over 1 MiB by a little": ("s", text("x" * MIB)),
    "a hundred thousand structs": ("a(y)", STRUCTS),
    "variants": ("av", array_of(VARIANT * 20_000)),
    "short texts": ("as", array_of((text("") + b"\0\0\0") * 9_999 + text(""))),
    "deep variants": ("v", nested(40)),
    "deep arrays": ("a" * 20 + "y", nested_arrays(20)),
}  # fmt: skip


async def memory_peak(daemon: Daemon) -> int:
    """The daemon's peak memory use in bytes."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("order", ["<", ">"])
async def test_a_call_at_the_limit_is_served(bus: Bus, tmp_path: Path, order: str) -> None:
    async with virtlayerd(bus, tmp_path) as daemon, raw_connection(bus.address) as raw:
        body = text("x" * (MIB - 300), order)
        await raw.send(bytes(replace(CALL, signature="s", body=body, order=order)))
        error, message = await raw.reply_to(7)
        # The name of a pool is not that long; the message arrived.
        assert (error, "Invalid pool name" in message) == (INVALID, True)
        assert await daemon.ask("ListJobs") == []


@pytest.mark.parametrize("kind", EXCESSIVE)
async def test_an_excessive_call_is_answered_and_the_connection_stays(
    bus: Bus, tmp_path: Path, kind: str
) -> None:
    signature, body = EXCESSIVE[kind]
    async with virtlayerd(bus, tmp_path) as daemon, raw_connection(bus.address) as raw:
        await daemon.ask("ListJobs")
        before = await memory_peak(daemon)
        await raw.send(bytes(replace(CALL, signature=signature, body=body)))
        error, message = await raw.reply_to(7)
        assert error == INVALID
        assert message.startswith("The message was rejected: ")
        # A message of 1 MiB is there as bytes, as a copy, and in the parser.
        assert await memory_peak(daemon) - before < 8 * MIB
        # The same connection, and the others.
        await raw.send(bytes(replace(CALL, signature="s", body=text(""), serial=8)))
        assert (await raw.reply_to(8))[0] == ""
        assert await daemon.ask("ListJobs") == []


async def test_other_callers_are_answered_while_a_message_arrives(bus: Bus, tmp_path: Path) -> None:
    content = bytes(replace(CALL, signature="s", body=text("x" * 32 * MIB)))
    async with virtlayerd(bus, tmp_path) as daemon, raw_connection(bus.address) as raw:
        for _ in range(3):
            sending = asyncio.create_task(raw.send(content))
            while not sending.done():
                await daemon.ask("Ping", interface="org.freedesktop.DBus.Peer")
            await sending
            assert (await raw.reply_to(7))[0] == INVALID


async def test_descriptors_of_an_excessive_call_are_closed(bus: Bus, tmp_path: Path) -> None:
    body = text("x" * 2 * MIB)
    call = replace(CALL, signature="s", body=body, descriptors=16)
    async with virtlayerd(bus, tmp_path) as daemon, raw_connection(bus.address) as raw:
        await daemon.ask("ListJobs")
        descriptors = Path(f"/proc/{daemon.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        with tempfile.TemporaryFile() as file:
            for _ in range(4):
                await raw.send(bytes(call), [file.fileno()] * 16)
                assert (await raw.reply_to(7))[0] == INVALID
            variants = replace(call, signature="av", body=array_of(VARIANT * 20_000))
            await raw.send(bytes(variants), [file.fileno()] * 16)
            assert (await raw.reply_to(7))[0] == INVALID
        # They are closed in a thread.
        await until(lambda: len(list(descriptors.iterdir())) == before)


async def test_an_excessive_call_without_reply_is_not_answered(bus: Bus, tmp_path: Path) -> None:
    call = replace(CALL, signature="s", body=text("x" * 2 * MIB), flags=1)
    async with virtlayerd(bus, tmp_path), raw_connection(bus.address) as raw:
        await raw.send(bytes(call))
        await raw.send(bytes(replace(CALL, signature="s", body=text(""), serial=8)))
        assert (await raw.reply_to(8))[0] == ""


async def test_the_limit_is_the_same_on_every_path_and_member(bus: Bus, tmp_path: Path) -> None:
    call = replace(CALL, signature="s", body=text("x" * 2 * MIB))
    async with virtlayerd(bus, tmp_path), raw_connection(bus.address) as raw:
        for wrong in (
            replace(call, member="NoSuchMethod"),
            replace(call, interface="org.example.None"),
            replace(call, path="/no/such/object"),
        ):
            await raw.send(bytes(wrong))
            assert (await raw.reply_to(7))[0] == INVALID


async def test_the_path_of_an_excessive_header_is_skipped(bus: Bus, tmp_path: Path) -> None:
    """The sender of an oversized header gets no reply; other callers do."""
    call = replace(CALL, path="/" + "x" * 2 * MIB, signature="s", body=text(""))
    async with virtlayerd(bus, tmp_path) as daemon, raw_connection(bus.address) as raw:
        await raw.send(bytes(call))
        await raw.send(bytes(replace(CALL, signature="s", body=text(""), serial=8)))
        assert (await raw.reply_to(8))[0] == ""
        assert await daemon.ask("ListJobs") == []
        os.kill(daemon.process.pid, 15)
        _status, log = await daemon.wait()
        assert "its header is malformed" in log
