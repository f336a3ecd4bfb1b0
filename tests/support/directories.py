# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers applied by the real worker to a directory."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.images import LayerContent
from tests.support.keeper import LocalStaging
from tests.support.volumes import open_blob
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.customization import Customization
from virtlayer.service.workers.directory import (
    DirectoryLayer,
    DirectoryWorker,
    FinishedDirectory,
    customize_directory,
)
from virtlayer.settings import LayerSettings


@contextlib.contextmanager
def open_directory(path: Path) -> Iterator[int]:
    """A descriptor of a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def apply_to(worker: DirectoryWorker, content: LayerContent) -> None:
    """Apply one layer."""
    with open_blob(content.blob) as blob:
        await worker.apply(
            DirectoryLayer(
                blob=blob,
                diff_id=content.diff_id,
                description=f"The layer {content.digest[:19]}",
            ),
            lambda _: None,
        )


async def build_directory(
    path: Path, layers: Iterable[LayerContent], settings: LayerSettings | None = None
) -> FinishedDirectory:
    """Apply layers to a new directory."""
    path.mkdir()
    with open_directory(path) as descriptor:
        starting = DirectoryWorker.started(place_of(descriptor), settings or LayerSettings())
        async with starting as worker:
            for content in layers:
                await apply_to(worker, content)
            return await worker.finish('The image "demo:1"')


async def customize(path: Path, customization: Customization) -> int:
    """Customize a directory; return how many devices were removed."""
    subject = 'The image "demo:1"'
    with open_directory(path) as descriptor:
        place = place_of(descriptor)
        return await customize_directory(place, LayerSettings(), customization, subject)


def place_of(directory: int) -> LocalStaging:
    """An open directory as what a worker writes."""
    return LocalStaging(directory, Purpose.DIRECTORY, output=directory)
