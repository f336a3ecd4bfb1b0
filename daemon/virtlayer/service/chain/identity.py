# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names layer volumes: the name is a hash of everything that decides the content.

The hash covers the layers below, the file system's geometry, and for each layer the diff id and the
digest of the blob. The diff id alone is not sufficient: a worker that is compromised by a blob can
report any diff id, and so build the layer of another image. The blob's digest is verified outside
of the sandbox. So a compromised worker affects only the volume of its blob, and volumes on top of
it.

Two images with the same first layers share the volumes of these. See ``operations.sharing`` for
layers that differ only in their compression.
"""

import hashlib
import itertools
from collections.abc import Iterable

from virtlayer.protocol.volume_format import FORMAT_VERSION


def geometry_id(virtual_size: int) -> str:
    """Return the id below the first layer: 64 hex digits.

    Args:
        virtual_size: The virtual size of the volumes, in bytes.
    """
    return _sha256(f"virtlayer ext4 format {FORMAT_VERSION} size {virtual_size}")


def volume_id(below: str, layers: Iterable[tuple[str, str]]) -> str:
    """Return the id of a volume: 64 hex digits.

    Where each layer has its own, ``id(n) = sha256(id(n-1) + " " + diff_id(n) + " " + blob(n))``. Of
    layers that share a volume, all are included: the same tree, made in other steps, uses other
    blocks, so an overlay of one volume does not fit the other.

    Args:
        below: The id of the volume below, or the result of ``geometry_id``.
        layers: The diff id and the digest of the blob of each layer, base first.
    """
    return _sha256(" ".join([below, *itertools.chain.from_iterable(layers)]))


def volume_name(volume_id: str, suffix: str) -> str:
    """Return the name of a layer's volume.

    It has no colon, and that of a file has the suffix .qcow2, as AppArmor's libvirt profile and
    qemu's backing names require.

    Args:
        volume_id: The result of ``volume_id``.
        suffix: ``Pool.layer_suffix``.
    """
    return f"layer-{volume_id}{suffix}"


def build_key(source: str, volume_id: str) -> str:
    """Return the key of a build; a job waits for another job with the same key: 64 hex digits.

    Args:
        source: The source of the blobs (``ChainRequest.source``).
        volume_id: The result of ``volume_id``.
    """
    return hashlib.sha256(f"{source} {volume_id}".encode()).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
