# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a layer volume is called: by everything that decides its content.

That depends on the layers below it and on the file system's geometry, so its id is a chain id (OCI
image-spec, config.md, "Layer ChainID") whose first parent is the geometry. Two images with the same
first layers thus share the volumes of these, and no others.
"""

import hashlib
from collections.abc import Sequence

from virtlayer.protocol.volume_format import FORMAT_VERSION


def geometry_id(virtual_size: int) -> str:
    """The id below the first layer: 64 hex digits.

    Args:
        virtual_size: Of the volumes, in bytes.
    """
    return _sha256(f"virtlayer ext4 format {FORMAT_VERSION} size {virtual_size}")


def volume_id(below: str, diff_ids: Sequence[str]) -> str:
    """The id of a volume: 64 hex digits.

    Where each layer has its own, ``id(n) = sha256(id(n-1) + " " + diff_id(n))``. Of layers that
    share a volume all are named in there: the same tree, made in other steps, lies in other blocks,
    so that what stands on the one could not stand on the other.

    Args:
        below: The id of the volume below, or what ``geometry_id`` gives.
        diff_ids: The digests of the layers' uncompressed archives, base first.
    """
    return _sha256(" ".join([below, *diff_ids]))


def volume_name(volume_id: str) -> str:
    """The name of a layer's volume.

    It has the suffix and no colon, because AppArmor's libvirt profile and qemu's backing names
    want that.
    """
    return f"layer-{volume_id}.qcow2"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
