# SPDX-License-Identifier: LGPL-2.1-or-later
"""Downloads of blobs whose volumes are there, where that alone gives the right to use these."""

from collections.abc import Sequence

from virtlayer.service.blobs.prefetch import prefetched_blobs
from virtlayer.service.chain.request import BuildTools
from virtlayer.service.source.image import Layer


async def prove(layers: Sequence[Layer], tools: BuildTools) -> None:
    """Download the blobs of layers, and see that they are right; nothing is built.

    Args:
        layers: What ``BuildTools.unproven`` gives.
        tools: Of the build that is to use their volumes.

    Raises:
        VirtlayerError: A blob does not come, or is something else: its volume must not be used.
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
