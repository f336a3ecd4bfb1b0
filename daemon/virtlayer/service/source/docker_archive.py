# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sizes of layers in an archive of ``docker save`` that skopeo does not know.

If images in one archive share a layer, one image has it as a file and the others as a symlink.
skopeo 1.18 follows the symlink when the layer is read, but the manifest that it makes has the size
of the symlink: 0.
"""

import contextlib
from dataclasses import replace

from virtlayer.cancellation import meanwhile
from virtlayer.errors import NoSpace
from virtlayer.service.source.digest import digest_of
from virtlayer.service.source.image import Manifest
from virtlayer.service.source.proxy import Proxy, ProxyFailed
from virtlayer.sizes import MIB, human_size

TRANSPORT = "docker-archive"
_EMPTY = digest_of(b"")


async def with_measured_sizes(proxy: Proxy, manifest: Manifest, limit: int) -> Manifest:
    """Return the manifest with the sizes of the layers as they are read.

    Args:
        proxy: The proxy that has opened the archive; it reads such layers once.
        manifest: The manifest of an image in the archive.
        limit: The maximum of bytes read of a layer, because a sparse file can have any length.

    Raises:
        NoSpace: A layer is longer than the limit.
        ProxyFailed: The archive cannot be read.
    """
    layers = [
        replace(layer, size=await _measured(proxy, layer.digest, limit))
        if not layer.size and layer.digest != _EMPTY
        else layer
        for layer in manifest.layers
    ]
    return replace(manifest, layers=tuple(layers))


async def _measured(proxy: Proxy, digest: str, limit: int) -> int:
    size = 0
    with await proxy.blob(digest, 0) as pipe:
        async with meanwhile(proxy.finish(pipe)) as finishing:
            while piece := await pipe.read(MIB):
                size += len(piece)
                if size > limit:
                    raise NoSpace(
                        f"The layer {digest} is larger than {human_size(limit)} "
                        "(cache.archives-limit in virtlayerd.toml)."
                    )
            # skopeo reports the wrong size. The digest is compared when the blob is fetched.
            with contextlib.suppress(ProxyFailed):
                await finishing
    return size
