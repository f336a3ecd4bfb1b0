# SPDX-License-Identifier: LGPL-2.1-or-later
"""A worker reads the blob that is being downloaded from memory that the service shares."""

import asyncio
import os
import random
from pathlib import Path

from tests.support.images import file, layer
from tests.support.volumes import SIZE, assert_sound, open_blob, served
from virtlayer.protocol.recent_bytes import PIECE
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.blobs.recent_bytes import RecentBytes
from virtlayer.service.workers.layer import LayerRequest, LayerWorker


async def test_bytes_in_shared_memory_are_not_read_from_the_file(
    worker: LayerWorker, tmp_path: Path
) -> None:
    seed = random.Random(1)  # noqa: S311 -- no secret
    content = layer(file("f", seed.randbytes(2 * PIECE)))
    recent = RecentBytes()
    for number, start in enumerate(range(0, content.size, PIECE)):
        part = content.blob[start : start + PIECE]
        recent.piece(number)[: len(part)] = part
    volume = tmp_path / "volume"
    volume.write_bytes(b"")
    os.truncate(volume, SIZE)

    with open_blob(b"") as empty:
        blob, asked = GrowingBlob(empty, recent), asyncio.Event()

        async def download() -> None:
            blob.grow(content.size)
            await asked.wait()

        async with served(volume) as connection, blob.written(download):
            applying = asyncio.create_task(
                worker.apply(
                    LayerRequest(
                        blob=blob,
                        nbd=connection,
                        diff_id=content.diff_id,
                        description="The layer",
                        format_size=SIZE,
                    ),
                    lambda _: None,
                )
            )
            # The memory is passed at once; afterwards, the download may end.
            await asyncio.sleep(0)
            asked.set()
            applied = await applying

    assert applied.entries == 1
    assert_sound(volume)
