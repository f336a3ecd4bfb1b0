# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sizes of layers in an archive of ``docker save`` that skopeo does not know.

Where images in one archive share a layer, it is a file of one of them and a symlink of the others.
skopeo 1.18 follows the symlink when the layer is read, but the manifest that it makes has the size
of the symlink: 0.
"""

import asyncio
import contextlib
from dataclasses import replace

from virtlayer.service.source.digest import digest_of
from virtlayer.service.source.image import Manifest
from virtlayer.service.source.proxy import ProxyFailed, put_away
from virtlayer.service.source.streams import OpenedProxy
from virtlayer.settings import MIB

TRANSPORT = "docker-archive"
_EMPTY = digest_of(b"")


async def with_measured_sizes(opened: OpenedProxy, manifest: Manifest) -> Manifest:
    """A manifest whose layers have the sizes that they have when they are read.

    Args:
        opened: The archive; reads such layers once.
        manifest: Of an image in it.

    Raises:
        ProxyFailed: The archive cannot be read.
    """
    layers = [
        replace(layer, size=await _measured(opened, layer.digest))
        if not layer.size and layer.digest != _EMPTY
        else layer
        for layer in manifest.layers
    ]
    return replace(manifest, layers=tuple(layers))


async def _measured(opened: OpenedProxy, digest: str) -> int:
    reply = await opened.proxy.request("GetBlob", opened.image, digest, 0)
    if reply.pipe is None:
        raise ProxyFailed("GetBlob was answered without a pipe")
    size = 0
    with reply.pipe as pipe:
        finishing = asyncio.ensure_future(opened.proxy.request("FinishPipe", reply.pipe_id))
        try:
            while piece := await pipe.read(MIB):
                size += len(piece)
            # It complains about the size. The digest is compared when the blob is fetched.
            with contextlib.suppress(ProxyFailed):
                await finishing
        finally:
            await put_away(finishing)
    return size
