# SPDX-License-Identifier: LGPL-2.1-or-later
"""Downloads the blobs of existing volumes, where only the download gives the right to use them."""

from collections.abc import Sequence

from virtlayer.service.blobs.prefetch import prefetched_blobs
from virtlayer.service.chain.request import BuildTools
from virtlayer.service.source.image import Layer


async def prove(layers: Sequence[Layer], tools: BuildTools) -> None:
    """Download and verify the blobs of layers; nothing is built.

    Args:
        layers: The result of ``BuildTools.unproven``.
        tools: The tools of the build that is to use their volumes.

    Raises:
        VirtlayerError: A blob cannot be downloaded or is wrong: its volume must not be used.
    """
    async with prefetched_blobs(layers, tools.fetch) as prefetched:
        for fetched in prefetched:
            if not fetched.is_here:
                tools.on_stage("downloading")
            await fetched.verified()
            fetched.used.set()
            layer = fetched.layer
            tools.progress.layer(layer.digest, layer.size).add_applied(layer.size)
            tools.progress.layer_done()
