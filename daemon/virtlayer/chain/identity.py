# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a layer volume is called: by everything that decides its content.

A layer's content depends on the layers below it and on the file system's geometry, so its id is a
chain id (OCI image-spec, config.md, "Layer ChainID") whose first parent is the geometry. Two images
with the same first layers thus share the volumes of these, and no others.
"""

import hashlib
import re
from collections.abc import Sequence

from virtlayer.layer.ext4.version import FORMAT_VERSION

_VOLUME_NAME = re.compile(r"layer-[0-9a-f]{64}\.qcow2")


def geometry_id(virtual_size: int) -> str:
    """The id below the first layer: 64 hex digits.

    Args:
        virtual_size: Of the volumes, in bytes.
    """
    return _sha256(f"virtlayer ext4 format {FORMAT_VERSION} size {virtual_size}")


def layer_ids(geometry: str, diff_ids: Sequence[str]) -> tuple[str, ...]:
    """The ids of an image's layers, base first: ``id(n) = sha256(id(n-1) + " " + diff_id(n))``.

    Args:
        geometry: From ``geometry_id``.
        diff_ids: The digests of the layers' uncompressed archives, base first.
    """
    ids = []
    parent = geometry
    for diff_id in diff_ids:
        parent = _sha256(f"{parent} {diff_id}")
        ids.append(parent)
    return tuple(ids)


def volume_name(layer_id: str) -> str:
    """The name of a layer's volume.

    It has the suffix and no colon, because AppArmor's libvirt profile and qemu's backing names
    want that.
    """
    return f"layer-{layer_id}.qcow2"


def is_layer_volume(name: str) -> bool:
    """Whether a volume's name is one that ``volume_name`` gives."""
    return _VOLUME_NAME.fullmatch(name) is not None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
