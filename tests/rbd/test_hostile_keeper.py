# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process of an RBD pool, asked by a keeper that was misled by a compromised service."""

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.leftovers import children_of
from tests.support.rbd_images import SIZE, Job, layer_name
from tests.support.rbd_process import RbdProcess, rbd_process, sealed
from tests.support.waiting import until
from virtlayer.errors import Internal, InvalidArgument
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Call, Nothing, Purpose
from virtlayer.protocol.rbd import RbdMessage
from virtlayer.rbd.answers.connection import ANSWERS
from virtlayer.rbd.answers.stagings import STAGINGS_LIMIT

_RECORD = "0" * 64 + ".json"


@contextlib.asynccontextmanager
async def opened(pool: CephPool) -> AsyncIterator[RbdProcess]:
    """A process, which must not be disturbed by what it is asked."""
    async with rbd_process(pool) as process:
        yield process
        await process.ask(rbd.FIND_IMAGES, rbd.FindImages(None))


async def refused[Q, R](
    process: RbdProcess, call: Call[Q, R], request: Q, descriptors: tuple[int, ...] = ()
) -> str:
    """Ask for what must be refused; the text of the error."""
    with pytest.raises((Internal, InvalidArgument)) as caught:
        await process.ask(call, request, descriptors)
    assert "Internal error" not in caught.value.message
    return caught.value.message


def test_every_message_is_answered() -> None:
    assert set(ANSWERS) == set(RbdMessage)


async def test_malformed_requests_are_refused(pool: CephPool) -> None:
    async with opened(pool) as process:
        contents: tuple[dict[str, Any], ...] = (
            {"surplus": 1},
            {"claim": "1"},
            {"staging": -1, "file": "a", "size": 1, "parent": None},
            {"staging": 1, "file": "../a", "size": 1, "parent": None},
            {"staging": 1, "file": "a", "size": 0, "parent": None},
            {"names": ("a/b",), "measure": False},
            {"name": "virtlayer\n"},
        )
        for message in RbdMessage:
            for content in contents:
                call: Call[dict[str, Any], Nothing] = Call(message, dict, Nothing)
                text = await refused(process, call, content)
                assert "refused the request" in text
        unknown = Call(_Other.SHELL, Nothing, Nothing)
        assert "unknown" in await refused(process, unknown, Nothing())


class _Other(StrEnum):
    SHELL = "shell"


async def test_unknown_numbers_are_refused(pool: CephPool) -> None:
    async with opened(pool) as process:
        claim = (await Job.started(process)).claim.claim
        for number in (0, 99, claim):
            create = rbd.CreateImage(number, "a", 1, None)
            await refused(process, rbd.CREATE_IMAGE, create)
            await refused(process, rbd.FLUSH_IMAGE, rbd.StagedImage(number, "a"))
            await refused(process, rbd.WAIT_SERVER, rbd.Serving(number))
            await refused(process, rbd.END_SERVER, rbd.EndServer(number, kill=True))
            await refused(process, rbd.DELETE, rbd.DeleteImage(number, "a", _RECORD))
        await refused(process, rbd.RELEASE, rbd.Release(99))
        await refused(process, rbd.STAGE, rbd.Stage(99, Purpose.LAYERS))
        for purpose in (Purpose.DISK, Purpose.DIRECTORY):
            await refused(process, rbd.STAGE, rbd.Stage(claim, purpose))
        for _ in range(STAGINGS_LIMIT - 1):
            await process.ask(rbd.STAGE, rbd.Stage(claim, Purpose.VOLUME))
        assert "limit" in await refused(process, rbd.STAGE, rbd.Stage(claim, Purpose.VOLUME))


async def test_images_get_no_names_of_others(ceph: OneNodeCeph, pool: CephPool) -> None:
    async with opened(pool) as process:
        volume = await Job.started(process, Purpose.VOLUME)
        await volume.create("a")
        place = rbd.PlaceImage(volume.staging, "a", "web", None)
        assert "not finished" in await refused(process, rbd.PLACE_IMAGE, place)
        await volume.flush("a")
        unfinished = f"virtlayer-unfinished-{'0' * 32}-a"
        for name in (layer_name("a"), f"kernel-{'0' * 64}", unfinished, "web@snapshot"):
            place = rbd.PlaceImage(volume.staging, "a", name, None)
            await refused(process, rbd.PLACE_IMAGE, place)
        layers = await Job.started(process)
        await layers.create("b")
        await layers.flush("b")
        place = rbd.PlaceImage(layers.staging, "b", "web", None)
        await refused(process, rbd.PLACE_IMAGE, place)
        with sealed(b"{}") as content:
            place = rbd.PlaceImage(layers.staging, "b", layer_name("b"), None)
            await refused(process, rbd.PLACE_IMAGE, place, (content,))
        await layers.place("b", layer_name("b"))
        await refused(process, rbd.PLACE_IMAGE, place)
        assert [name for name in ceph.images(pool.name) if "unfinished" not in name] == [
            layer_name("b")
        ]


async def test_images_of_others_are_neither_served_nor_cloned(
    ceph: OneNodeCeph, pool: CephPool
) -> None:
    ceph.rbd("create", "-p", pool.name, "--size", "1M", "foreign")
    async with opened(pool) as process:
        other = await Job.started(process)
        await other.layer("a")
        await other.create("hidden")
        [hidden] = [name for name in ceph.images(pool.name) if "unfinished" in name]
        job = await Job.started(process)
        with _listening() as server:
            for image, writable in (
                ("foreign", False),
                ("foreign", True),
                ("hidden", True),
                (hidden, False),
                (layer_name("a"), True),
            ):
                serve = rbd.ServeImage(job.staging, image, writable)
                await refused(process, rbd.SERVE_IMAGE, serve, (server,))
        for parent in ("foreign", "hidden", hidden):
            create = rbd.CreateImage(job.staging, "a", SIZE, parent)
            await refused(process, rbd.CREATE_IMAGE, create)
        create = rbd.CreateImage(job.staging, "a", SIZE - 1, layer_name("a"))
        await refused(process, rbd.CREATE_IMAGE, create)
        assert children_of(process.pid) == set()


async def test_image_whose_server_is_being_started_is_not_finished(pool: CephPool) -> None:
    async with opened(pool) as process:
        job = await Job.started(process)
        await job.create("a")
        with _listening() as server:
            serve = rbd.ServeImage(job.staging, "a", writable=True)
            starting = asyncio.create_task(process.ask(rbd.SERVE_IMAGE, serve, (server,)))
            await asyncio.sleep(0)
            flush = rbd.StagedImage(job.staging, "a")
            assert "being written" in await refused(process, rbd.FLUSH_IMAGE, flush)
            serving = await starting
        await process.ask(rbd.END_SERVER, rbd.EndServer(serving.server, kill=True))
        boot = await Job.started(process, Purpose.BOOT)
        with sealed(b"kernel") as content, _listening() as server:
            await process.ask(rbd.STORE_FILE, rbd.StoreFile(boot.staging, "a"), (content,))
            serve = rbd.ServeImage(boot.staging, "a", writable=True)
            await refused(process, rbd.SERVE_IMAGE, serve, (server,))


async def test_only_listening_sockets_and_sealed_files_are_taken(pool: CephPool) -> None:
    async with opened(pool) as process:
        job = await Job.started(process)
        await job.create("a")
        serve = rbd.ServeImage(job.staging, "a", writable=True)
        reading, writing = os.pipe()
        one, two = socket.socketpair()
        with one, two, socket.socket() as tcp, tempfile.TemporaryFile() as null:
            tcp.listen()
            wrong = (reading, one.fileno(), tcp.fileno(), null.fileno())
            for descriptors in ((), *((one,) for one in wrong), (writing, writing)):
                await refused(process, rbd.SERVE_IMAGE, serve, descriptors)
        boot = await Job.started(process, Purpose.BOOT)
        for descriptor in (reading, os.memfd_create("unsealed")):
            await refused(process, rbd.STORE_FILE, rbd.StoreFile(boot.staging, "a"), (descriptor,))
            os.close(descriptor)
        os.close(writing)
        with sealed(b"") as empty:
            await refused(process, rbd.STORE_FILE, rbd.StoreFile(boot.staging, "a"), (empty,))
        assert children_of(process.pid) == set()
    async with rbd_process() as process:
        request = rbd.Open(pool=pool.name, user=pool.user, monitors=())
        await refused(process, rbd.OPEN, request)
        with sealed(b"not a key") as key:
            assert "not a key" not in await refused(process, rbd.OPEN, request, (key,))


async def test_server_has_no_key_to_be_found_and_ends_with_the_process(pool: CephPool) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.create("a")
        async with job.served("a", ends=False) as server:
            await server.io("write 0 64k")
            [child] = children_of(process.pid)
            for number in (process.pid, child):
                limits = Path(f"/proc/{number}/limits").read_text().splitlines()
                [core] = [line.split() for line in limits if line.startswith("Max core")]
                assert core[4:6] == ["0", "0"]
            for name in ("cmdline", "environ"):
                assert pool.key.encode() not in Path(f"/proc/{child}/{name}").read_bytes()
            for descriptor in Path(f"/proc/{child}/fd").iterdir():
                # It closes descriptors meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    assert pool.key.encode() not in _content_of(descriptor)
            os.kill(process.pid, signal.SIGKILL)
            await until(lambda: not Path(f"/proc/{child}/cmdline").exists())


def _content_of(descriptor: Path) -> bytes:
    """What a pipe or a memory file of another process still has."""
    if not str(descriptor.readlink()).startswith(("pipe:", "/memfd:")):
        return b""
    opened = os.open(descriptor, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(opened, 2**16)
    except BlockingIOError:
        return b""
    finally:
        os.close(opened)


@contextlib.contextmanager
def _listening() -> Iterator[int]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind("")  # an abstract name
        server.listen()
        yield server.fileno()
