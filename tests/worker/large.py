# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers too large to be built entry by entry, and what the worker needs for them.

As a program it prints the figures of docs/layers.md: ``python -m tests.worker.large``.
"""

import asyncio
import contextlib
import gzip
import hashlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.support.archives import END, header
from tests.support.images import OCI_LAYER, LayerContent, digest_of
from tests.support.keeper import LocalPrograms
from tests.support.volumes import apply_layer, assert_sound
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings

MIB = 1024 * 1024
GIB = 1024 * MIB
_PLACE = b"\1" * 40


def repeated(pieces: Iterable[tuple[bytes, int]]) -> LayerContent:
    """A layer of pieces that each come so many times, one after the other.

    gzip's members make it cheap: a piece is compressed once.
    """
    digest, blob = hashlib.sha256(), []
    for piece, times in pieces:
        blob.append(gzip.compress(piece, compresslevel=1, mtime=0) * times)
        for _ in range(times):
            digest.update(piece)
    packed = b"".join(blob)
    return LayerContent(
        blob=packed,
        media_type=OCI_LAYER + "+gzip",
        digest=digest_of(packed),
        size=len(packed),
        diff_id=f"sha256:{digest.hexdigest()}",
    )


def headers(names: Iterable[str], **more: object) -> bytes:
    """Headers that differ in their names alone, which are of 40 bytes at most."""
    template = header(_PLACE, **more)  # type: ignore[arg-type]
    blank = sum(template) - sum(_PLACE) - sum(template[148:156]) + 8 * 32
    end = template[156:]
    middle = template[40:148]
    return b"".join(
        name.ljust(40, b"\0") + middle + b"%06o\0 " % (blank + sum(name)) + end
        for name in map(str.encode, names)
    )


def million_files(count: int) -> LayerContent:
    """Empty files, 500 in a directory."""
    return repeated([(headers(f"d{n // 500:06}/file-{n:09}" for n in range(count)) + END, 1)])


def million_directories(count: int) -> LayerContent:
    """A directory a file, which costs most: every one is a block, an inode and an index."""
    names = (f"{n // 100:06}/{n:09}" for n in range(count))
    return repeated([(headers(names, kind=b"5", mode=0o755) + END, 1)])


def large_file(size: int) -> LayerContent:
    """A file of that many bytes, a multiple of 64 MiB, with something at the beginning and end."""
    piece = bytes(64 * MIB)
    count = size // len(piece) - 2
    return repeated(
        [
            (header("large", size=size) + b"first" + piece[5:], 1),
            (piece, count),
            (piece[:-4] + b"last" + END, 1),
        ]
    )


async def peak_memory(content: LayerContent, volume: Path, size: int) -> tuple[int, float]:
    """Apply a layer with a worker of its own; its peak of memory in bytes, and the seconds."""
    volume.write_bytes(b"")
    os.truncate(volume, size)
    async with LayerWorker.started(LocalPrograms(), LayerSettings()) as worker:
        started = time.monotonic()
        await apply_layer(worker, volume, content, format_size=size)
        seconds = time.monotonic() - started
        status = await asyncio.to_thread(Path(f"/proc/{worker.pid}/status").read_text)
    await asyncio.to_thread(assert_sound, volume)
    peak = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert peak
    return int(peak[1]) * 1024, seconds


async def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(KeyboardInterrupt):
        volume = Path(directory) / "volume"
        for title, content, size in (
            ("one file", million_files(1), 20 * GIB),
            ("100,000 files", million_files(100_000), 20 * GIB),
            ("1,000,000 files", million_files(1_000_000), 20 * GIB),
            ("100,000 directories", million_directories(100_000), 20 * GIB),
            ("1,000,000 directories", million_directories(1_000_000), 20 * GIB),
            ("5 GiB", large_file(5 * GIB), 20 * GIB),
        ):
            peak, seconds = await peak_memory(content, volume, size)
            print(f"{title}: {peak / MIB:.1f} MiB, {seconds:.1f} s", flush=True)  # noqa: T201
    subprocess.run(["uname", "-r"], check=True)


if __name__ == "__main__":
    asyncio.run(main())
