# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a layer volume is called: a hash of everything that decides its content.

That is the layers below it, the file system's geometry, and for each of its layers the diff id and
the digest of the blob. The diff id alone would not do: a worker that a blob has taken over can say
that this blob unpacks to any diff id, and would so make the layer of another image. The blob's
digest is compared outside of the sandbox. So a blob decides what is in its own volume, and in those
on top of it, whatever it does to a worker.

Two images with the same first layers share the volumes of these. See ``operations.sharing`` for
layers that differ in their compression only.
"""

import hashlib
import itertools
from collections.abc import Iterable

from virtlayer.protocol.volume_format import FORMAT_VERSION


def geometry_id(virtual_size: int) -> str:
    """The id below the first layer: 64 hex digits.

    Args:
        virtual_size: Of the volumes, in bytes.
    """
    return _sha256(f"virtlayer ext4 format {FORMAT_VERSION} size {virtual_size}")


def volume_id(below: str, layers: Iterable[tuple[str, str]]) -> str:
    """The id of a volume: 64 hex digits.

    Where each layer has its own, ``id(n) = sha256(id(n-1) + " " + diff_id(n) + " " + blob(n))``. Of
    layers that share a volume all are named in there: the same tree, made in other steps, lies in
    other blocks, so that an overlay of the one could not be an overlay of the other.

    Args:
        below: The id of the volume below, or what ``geometry_id`` gives.
        layers: The diff id and the digest of the blob of each layer, base first.
    """
    return _sha256(" ".join([below, *itertools.chain.from_iterable(layers)]))


def volume_name(volume_id: str) -> str:
    """The name of a layer's volume.

    It has the suffix and no colon, because AppArmor's libvirt profile and qemu's backing names
    want that.
    """
    return f"layer-{volume_id}.qcow2"


def build_key(source: str, volume_id: str) -> str:
    """What two jobs share if one waits while the other builds a volume: 64 hex digits.

    Args:
        source: Where the blobs come from (``ChainRequest.source``).
        volume_id: What ``volume_id`` gives.
    """
    return hashlib.sha256(f"{source} {volume_id}".encode()).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
