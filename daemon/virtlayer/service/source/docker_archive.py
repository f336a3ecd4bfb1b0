# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sizes of layers in an archive of ``docker save`` that skopeo does not know.

Where images in one archive share a layer, it is a file of one of them and a symlink of the others.
skopeo 1.18 follows the symlink when the layer is read, but the manifest that it makes has the size
of the symlink: 0.
"""

import contextlib
from dataclasses import replace

from virtlayer.cancellation import meanwhile
from virtlayer.errors import NoSpace
from virtlayer.service.source.digest import digest_of
from virtlayer.service.source.image import Manifest
from virtlayer.service.source.proxy import ProxyFailed
from virtlayer.service.source.streams import OpenedProxy
from virtlayer.sizes import MIB, human_size

TRANSPORT = "docker-archive"
_EMPTY = digest_of(b"")


async def with_measured_sizes(opened: OpenedProxy, manifest: Manifest, limit: int) -> Manifest:
    """A manifest whose layers have the sizes that they have when they are read.

    Args:
        opened: The archive; reads such layers once.
        manifest: Of an image in it.
        limit: Bytes after which a layer is read no further: a sparse file can have any length.

    Raises:
        NoSpace: A layer is longer than the limit.
        ProxyFailed: The archive cannot be read.
    """
    layers = [
        replace(layer, size=await _measured(opened, layer.digest, limit))
        if not layer.size and layer.digest != _EMPTY
        else layer
        for layer in manifest.layers
    ]
    return replace(manifest, layers=tuple(layers))


async def _measured(opened: OpenedProxy, digest: str, limit: int) -> int:
    answer = await opened.proxy.pipe("GetBlob", opened.image, digest, 0)
    size = 0
    with answer.pipe as pipe:
        async with meanwhile(opened.proxy.finish(answer)) as finishing:
            while piece := await pipe.read(MIB):
                size += len(piece)
                if size > limit:
                    raise NoSpace(
                        f"The layer {digest} is larger than {human_size(limit)} "
                        "(cache.archives-limit in virtlayerd.toml)."
                    )
            # It complains about the size. The digest is compared when the blob is fetched.
            with contextlib.suppress(ProxyFailed):
                await finishing
    return size
