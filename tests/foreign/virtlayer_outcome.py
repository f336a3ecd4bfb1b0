# SPDX-License-Identifier: LGPL-2.1-or-later
"""Unpacks an archive or an image with virtlayer's real worker and a mount."""

from collections.abc import Sequence
from pathlib import Path

from tests.foreign.comparison import Outcome, Refusal
from tests.foreign.corpus import ForeignArchive
from tests.support.images import LayerContent, digest_of
from tests.support.sources import Sources, blob_of
from tests.support.volumes import build_volume, tree_of
from virtlayer.errors import VirtlayerError
from virtlayer.service.workers.layer import LayerWorker

_SIZE = 2 * 1024**3


async def of_archive(worker: LayerWorker, archive: ForeignArchive, work: Path) -> Outcome:
    """The tree of an image that has the archive as its only layer."""
    content = LayerContent(
        blob=archive.blob,
        media_type="",
        digest=digest_of(archive.blob),
        size=len(archive.blob),
        diff_id=digest_of(archive.blob if archive.plain is None else archive.plain),
    )
    return await _of_layers(worker, [content], work)


async def of_image(worker: LayerWorker, reference: str, work: Path) -> Outcome:
    """The tree of an image."""
    try:
        async with Sources(work).open(reference) as opened:
            layers = [
                LayerContent(
                    blob=await blob_of(opened, layer),
                    media_type=layer.media_type,
                    digest=layer.digest,
                    size=layer.size,
                    diff_id=layer.diff_id,
                )
                for layer in opened.image.layers
            ]
    except VirtlayerError as error:
        return _refusal(error)
    return await _of_layers(worker, layers, work)


async def _of_layers(worker: LayerWorker, layers: Sequence[LayerContent], work: Path) -> Outcome:
    volume = work / "volume"
    try:
        await build_volume(worker, volume, layers, size=_SIZE)
    except VirtlayerError as error:
        return _refusal(error)
    return tree_of(volume)


def _refusal(error: VirtlayerError) -> Refusal:
    return Refusal(f"{type(error).__name__}: {error}")
