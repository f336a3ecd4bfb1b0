# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools and volumes as libvirt describes them.

The formats are libvirt's storage pool and volume XML
(https://libvirt.org/formatstorage.html, "Storage pool XML" and "Storage volume XML").
libvirt writes them in bytes, whatever unit the volume was defined with.
"""

from pathlib import Path
from xml.etree import ElementTree

from virtlayer.errors import Libvirt, PoolUnsupported
from virtlayer.protocol.pools import Pool, Volume

POOL_KINDS = ("dir", "fs", "netfs")
"""The types of pool whose volumes are files in one directory: a backing chain needs that."""


def parse_pool(text: str) -> Pool:
    """Read the description of a pool.

    Raises:
        PoolUnsupported: Its volumes are no files in a directory.
    """
    root = ElementTree.fromstring(text)  # noqa: S314 -- libvirt wrote it
    name = _text(root, "name")
    kind = root.get("type", "")
    if kind not in POOL_KINDS:
        raise PoolUnsupported(
            f"The pool “{name}” is of type {kind}, whose volumes cannot form backing chains "
            "of files. Use a pool of type dir, fs or netfs."
        )
    return Pool(name, _text(root, "uuid"), kind, Path(_text(root, "target/path")))


def parse_volume(text: str) -> Volume:
    """Read the description of a volume."""
    root = ElementTree.fromstring(text)  # noqa: S314 -- libvirt wrote it
    backing = root.findtext("backingStore/path")
    return Volume(
        name=_text(root, "name"),
        path=Path(_text(root, "target/path")),
        format=_format(root, "target/format") or "raw",
        capacity=int(_text(root, "capacity")),
        allocation=int(_text(root, "allocation")),
        backing_path=Path(backing) if backing else None,
        backing_format=_format(root, "backingStore/format"),
    )


def _text(root: ElementTree.Element, path: str) -> str:
    text = root.findtext(path)
    if text is None:
        raise Libvirt(f"libvirt described a {root.tag} without {path}.")
    return text


def _format(root: ElementTree.Element, path: str) -> str | None:
    element = root.find(path)
    return None if element is None else element.get("type")
