# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools and volumes as libvirt describes them.

The formats are libvirt's storage pool and volume XML
(https://libvirt.org/formatstorage.html, "Storage pool XML" and "Storage volume XML").
libvirt writes them in bytes, whatever unit the volume was defined with.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from virtlayer.errors import Libvirt, PoolUnsupported

POOL_KINDS = ("dir", "fs", "netfs")
"""The types of pool whose volumes are files in one directory: a backing chain needs that."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A storage pool that can hold backing chains.

    Attributes:
        name: Its name.
        uuid: Its UUID, which stays when it is renamed.
        kind: Its type, one of ``POOL_KINDS``.
        path: The directory of its volumes.
    """

    name: str
    uuid: str
    kind: str
    path: Path


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of a pool.

    Attributes:
        name: Its name in the pool.
        path: Its file.
        format: Its format by libvirt's probe of the header, such as "qcow2".
        capacity: What a machine sees of it, in bytes.
        allocation: What it takes of the pool, in bytes.
        backing_path: The image that it is an overlay of, resolved by libvirt; None if of none.
        backing_format: The format of that image as its own header names it.
    """

    name: str
    path: Path
    format: str
    capacity: int
    allocation: int
    backing_path: Path | None
    backing_format: str | None


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
