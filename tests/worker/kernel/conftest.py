# SPDX-License-Identifier: LGPL-2.1-or-later
"""A worker for each test, and the file that it writes."""

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.images import Entry, layer
from tests.support.keeper import LocalStaging
from tests.support.volumes import build_volume, served
from virtlayer.protocol.calls import Purpose
from virtlayer.service.workers.kernel import ImageKernelWorker, Survey, WrittenFile
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings
from virtlayer.sizes import MIB

SUBJECT = 'The image "demo"'


@dataclass(frozen=True, slots=True)
class Output:
    """The staging directory of a worker, and the file that it writes."""

    staging: LocalStaging
    file: Path


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    path = tmp_path / "disk"
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    written = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        yield Output(LocalStaging(directory, Purpose.BOOT, written), path)
    finally:
        os.close(written)
        os.close(directory)


class ImageReader:
    """Asks a new worker about an image that is made of one layer."""

    def __init__(self, layers: LayerWorker, output: Output, directory: Path) -> None:
        self._layers, self._output = layers, output
        self._volume = directory / "volume"

    async def build(self, entries: Iterable[Entry], *, size: int = 64 * MIB) -> None:
        await build_volume(self._layers, self._volume, [layer(*entries)], size=size)

    async def survey(self) -> Survey:
        async with self._asked() as worker, served(self._volume) as nbd:
            return await worker.survey(nbd, SUBJECT)

    async def kernel(self, version: str) -> tuple[WrittenFile, bytes]:
        async with self._asked() as worker, served(self._volume) as nbd:
            written = await worker.write_kernel(nbd, version, SUBJECT)
        return written, self._output.file.read_bytes()

    async def image_initrd(self, version: str) -> tuple[WrittenFile, bytes]:
        async with self._asked() as worker, served(self._volume) as nbd:
            written = await worker.write_image_initrd(nbd, version, SUBJECT)
        return written, self._output.file.read_bytes()

    async def own_initrd(self, version: str) -> tuple[WrittenFile, bytes]:
        async with self._asked() as worker, served(self._volume) as nbd:
            written = await worker.write_own_initrd(nbd, version, SUBJECT)
        return written, self._output.file.read_bytes()

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[ImageKernelWorker]:
        async with ImageKernelWorker.started(self._output.staging, LayerSettings()) as worker:
            yield worker


@pytest.fixture
def image(worker: LayerWorker, output: Output, tmp_path: Path) -> ImageReader:
    return ImageReader(worker, output, tmp_path)
