# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process that decompresses a blob, whose output is hashed outside of it."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.images import Compression, file, layer
from tests.support.keeper import LocalPrograms
from tests.support.leftovers import nothing_left
from tests.support.volumes import open_blob
from tests.support.waiting import stop
from virtlayer.errors import Internal, LayerTooLarge, MalformedLayer
from virtlayer.service.workers.unpacking import UnpackingWorker
from virtlayer.settings import LayerSettings
from virtlayer.sizes import MIB

DATA = file("data", os.urandom(MIB) * 5)


async def digest_of(content: bytes, algorithm: str = "sha256", **limits: int) -> str:
    with nothing_left(), open_blob(content) as blob:
        async with UnpackingWorker.started(LocalPrograms(), LayerSettings(**limits)) as worker:
            return await worker.digest(blob, algorithm, "The blob")


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_digest_is_that_of_the_uncompressed_archive(compression: Compression) -> None:
    content = layer(DATA, compression=compression)
    assert await digest_of(content.blob) == content.diff_id


async def test_digest_has_the_algorithm_that_is_asked_for() -> None:
    digest = await digest_of(layer(DATA).blob, "sha512")
    assert digest.startswith("sha512:")
    assert len(digest) == len("sha512:") + 128


async def test_damaged_blob_is_refused() -> None:
    with pytest.raises(MalformedLayer, match=r"The blob is damaged: .*ends too early"):
        await digest_of(layer(DATA).blob[:-100])


async def test_output_beyond_the_limit_is_refused() -> None:
    with pytest.raises(LayerTooLarge, match="The blob unpacks to more bytes"):
        await digest_of(layer(DATA).blob, bytes_limit=MIB)


async def test_process_that_does_not_go_on_is_given_up() -> None:
    with nothing_left(), open_blob(layer(DATA).blob) as blob:
        async with UnpackingWorker.started(LocalPrograms(), LayerSettings()) as worker:
            stop(worker.pid)
            with pytest.raises(Internal, match="gave no data for 0 s"):
                await worker.digest(blob, "sha256", "the blob", patience=0.1)


async def test_process_that_dies_is_reported() -> None:
    with nothing_left(), open_blob(layer(DATA).blob) as blob:
        async with UnpackingWorker.started(LocalPrograms(), LayerSettings()) as worker:
            os.kill(worker.pid, signal.SIGKILL)
            with pytest.raises(Internal, match="stopped while processing the blob"):
                await worker.digest(blob, "sha256", "the blob")


async def test_process_is_in_the_sandbox_while_it_reads_a_blob() -> None:
    with open_blob(layer(DATA).blob) as blob:
        async with UnpackingWorker.started(LocalPrograms(), LayerSettings()) as worker:
            await worker.digest(blob, "sha256", "the blob")
            process = Path(f"/proc/{worker.pid}")
            lines = (process / "status").read_text().splitlines()
            status = {key: value.split() for key, value in (line.split(":", 1) for line in lines)}
            assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
            assert status["CapPrm"] == status["CapEff"] == ["0" * 16]
            assert os.geteuid() or "0" not in status["Uid"]
            # It keeps neither the blob nor the pipe.
            assert {path.name for path in (process / "fd").iterdir()} == {"0", "1", "2"}
