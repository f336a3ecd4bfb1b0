# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers of the maximum size, and decompression bombs.

A million entries are for ``python -m tests.worker.large``: what is shown here with a tenth of them,
memory that grows by so much an entry, is the same there.
"""

import asyncio
import gzip
import os
from pathlib import Path

import pytest
import zstandard

from tests.support.archives import (
    END,
    archive,
    directory,
    entry,
    header,
    named,
    pax,
    sparse_1_0,
    symlink,
)
from tests.support.images import LayerContent, layer
from tests.support.keeper import LocalPrograms
from tests.support.trees import mounted
from tests.support.volumes import build_volume, open_blob, served
from tests.worker.large import (
    GIB,
    MIB,
    headers,
    large_file,
    million_directories,
    million_files,
    peak_memory,
    repeated,
)
from virtlayer.errors import LayerTooLarge, MalformedLayer
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.workers.layer import LayerRequest, LayerWorker
from virtlayer.settings import LayerSettings

_ZEROES = bytes(64 * MIB)


def _links(count: int) -> LayerContent:
    names = (f"d{n // 5000}/link-{n:06}" for n in range(count))
    return repeated([(header("file") + headers(names, kind=b"1", link="file") + END, 1)])


async def test_65_000_names_of_one_file(worker: LayerWorker, tmp_path: Path) -> None:
    await build_volume(worker, tmp_path / "volume", [_links(64_999)])
    with mounted(tmp_path / "volume", tmp_path / "mnt") as root:
        assert (root / "file").stat().st_nlink == 65_000

    with pytest.raises(LayerTooLarge, match=r'"d12/link-064999".*more than 65000 hard links'):
        await build_volume(worker, tmp_path / "volume", [_links(65_000)])


async def test_directory_of_100_000_names(worker: LayerWorker, tmp_path: Path) -> None:
    names = [f"d/{number:08}-name" for number in range(100_000)]
    # One file has 65,000 names at most.
    some = header("one") + headers(names[:60_000], kind=b"1", link="one")
    rest = header("other") + headers(names[60_000:], kind=b"1", link="other")
    content = repeated([(some + rest + END, 1)])

    await build_volume(worker, tmp_path / "volume", [content])

    with mounted(tmp_path / "volume", tmp_path / "mnt") as root:
        assert len(list((root / "d").iterdir())) == 100_000
        assert all((root / name).exists() for name in names[::97])
        assert not any((root / f"{name}x").exists() for name in names[::97])


async def test_file_of_5_gib(tmp_path: Path) -> None:
    volume = tmp_path / "volume"

    peak, _ = await peak_memory(large_file(5 * GIB), volume, 8 * GIB)

    assert peak < 96 * MIB
    with mounted(volume, tmp_path / "mnt") as root, (root / "large").open("rb") as stream:
        assert stream.read(6) == b"first\0"
        assert stream.seek(-5, os.SEEK_END) == 5 * GIB - 5
        assert stream.read() == b"\0last"


async def test_hole_of_100_gib(worker: LayerWorker, tmp_path: Path) -> None:
    end = 100 * GIB
    content = layer(raw=archive(sparse_1_0("hole", end, [(0, 1), (end - 1, 1)], b"ab")))

    await build_volume(worker, tmp_path / "volume", [content])

    with mounted(tmp_path / "volume", tmp_path / "mnt") as root:
        assert (root / "hole").stat().st_size == end
        assert (root / "hole").stat().st_blocks == 2 * 8
        with (root / "hole").open("rb") as stream:
            assert stream.read(2) == b"a\0"
            stream.seek(-2, os.SEEK_END)
            assert stream.read() == b"\0b"


@pytest.mark.parametrize("make", [million_files, million_directories])
async def test_memory_grows_by_less_than_400_bytes_an_entry(make: object, tmp_path: Path) -> None:
    assert callable(make)
    few, _ = await peak_memory(make(5_000), tmp_path / "volume", 4 * GIB)
    many, _ = await peak_memory(make(100_000), tmp_path / "volume", 4 * GIB)

    # What the cache of file system blocks takes has a limit of its own.
    assert many - few - 32 * MIB < 400 * 95_000


def _bomb(name: str) -> bytes:
    head = header(name, size=10 * GIB)
    return gzip.compress(head) + gzip.compress(_ZEROES, compresslevel=9) * 160


def _zstd_bomb(name: str) -> bytes:
    pack = zstandard.ZstdCompressor().compress
    return pack(header(name, size=10 * GIB)) + pack(_ZEROES) * 160


@pytest.mark.parametrize("blob", [_bomb("bomb"), _zstd_bomb("bomb")], ids=["gzip", "zstd"])
async def test_decompression_bomb(blob: bytes, tmp_path: Path) -> None:
    assert len(blob) < 12 * MIB
    settings = LayerSettings(bytes_limit=GIB, memory_limit=256 * MIB)
    async with LayerWorker.started(LocalPrograms(), settings) as worker:
        content = layer(raw=b"", blob=blob)
        with pytest.raises(LayerTooLarge, match=r"layer\.bytes-limit"):
            await build_volume(worker, tmp_path / "volume", [content], size=16 * GIB)


_HEADERS = pax({"comment": "x" * 1_000_000})
_BOMBS = {
    "extended headers without an entry": (_HEADERS * 50, "extended headers of"),
    "global headers": (pax({f"k{n}": "v" for n in range(5000)}, kind=b"g") * 200, None),
    "depth": (
        b"".join(
            symlink(f"s{n}", f"/s{n - 1}/" + "d/" * 30 if n else "/" + "d/" * 30) + entry(f"s{n}/f")
            for n in range(39)
        )
        + b"".join(named(f"s38/{'e/' * n}f") for n in range(1, 2000, 199)),
        "lies below",
    ),
    "entries": (entry("a") * 6000, "more than 5000 entries"),
    "opaque directories": (
        (headers(f"d/{n}" for n in range(2000)) + entry("d/.wh..wh..opq") * 2000),
        None,
    ),
    "a name again and again": (
        directory("d") + (directory("d/x") + entry("d/x/y") + entry("d/x")) * 1000,
        None,
    ),
}


@pytest.mark.parametrize("name", _BOMBS)
async def test_bomb(name: str, tmp_path: Path) -> None:
    raw, problem = _BOMBS[name]
    settings = LayerSettings(entries_limit=5000, memory_limit=128 * MIB)
    content = layer(raw=raw + END)
    async with LayerWorker.started(LocalPrograms(), settings) as worker:
        building = build_volume(worker, tmp_path / "volume", [content])
        if problem is None:
            await building
        else:
            with pytest.raises((LayerTooLarge, MalformedLayer), match=problem):
                await building


async def test_processor_time_has_a_limit(tmp_path: Path) -> None:
    many = repeated([(headers(f"{n:08}" for n in range(60_000)), 50), (END, 1)])
    async with LayerWorker.started(LocalPrograms(), LayerSettings(cpu_limit=2)) as worker:
        with pytest.raises(LayerTooLarge, match=r"layer\.cpu-limit"):
            await build_volume(worker, tmp_path / "volume", [many], size=4 * GIB)


async def test_large_file_reports_its_progress(worker: LayerWorker, tmp_path: Path) -> None:
    content, volume, steps = large_file(1 * GIB), tmp_path / "volume", list[int]()
    await asyncio.to_thread(volume.write_bytes, b"")
    os.truncate(volume, 4 * GIB)
    with open_blob(content.blob) as blob:
        async with served(volume) as connection:
            await worker.apply(
                LayerRequest(
                    blob=GrowingBlob.complete(blob, content.size),
                    nbd=connection,
                    diff_id=content.diff_id,
                    description="The layer",
                    format_size=4 * GIB,
                ),
                steps.append,
            )

    assert len(steps) > 2
    assert sum(steps) <= content.size
