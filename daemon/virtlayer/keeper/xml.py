# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools and volumes as libvirt describes them.

The formats are libvirt's storage pool and volume XML
(https://libvirt.org/formatstorage.html, "Storage pool XML" and "Storage volume XML").
libvirt writes them in bytes, whatever unit the volume was defined with.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

from virtlayer.errors import Libvirt
from virtlayer.keeper.kinds.rbd.source import parse_source
from virtlayer.keeper.kinds.refused import refused, refused_namespace
from virtlayer.protocol.pools import Pool, RbdAccess, Volume

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 excludes ("Char")."""
FILE_KINDS = ("dir", "fs", "netfs")
"""The types of pool whose volumes are files in one directory."""
RBD_KIND = "rbd"
"""The type of pool whose volumes are images in a pool of a Ceph cluster."""


def parse_pool(text: str) -> Pool:
    """Read the description of a pool.

    Raises:
        PoolUnsupported: Its volumes cannot form backing chains.
    """
    root = _parsed(text)
    name = _text(root, "name")
    kind = root.get("type", "")
    if kind in FILE_KINDS:
        return Pool(name, _text(root, "uuid"), kind, Path(_text(root, "target/path")))
    if kind != RBD_KIND:
        raise refused(name, kind)
    source = _text(root, "source/name")
    if "/" in source:
        raise refused_namespace(name, source)
    return Pool(name, _text(root, "uuid"), kind, Path(source), _access(text))


def _access(text: str) -> RbdAccess:
    source = parse_source(text)
    monitors = []
    for one in source.monitors:
        host = f"[{one.host}]" if ":" in one.host else one.host
        monitors.append(host if one.port is None else f"{host}:{one.port}")
    secret = source.secret
    if source.user is None or secret is None:
        return RbdAccess(tuple(monitors))
    return RbdAccess(tuple(monitors), source.user, secret.uuid, secret.usage)


def parse_pool_kind(text: str) -> str:
    """The type in the description of a pool of any kind, such as "logical"."""
    return _parsed(text).get("type", "")


def parse_volume(text: str) -> Volume:
    """Read the description of a volume."""
    root = _parsed(text)
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


def _parsed(text: str) -> ElementTree.Element:
    # libvirt 11.3 writes the control characters in the backing name of an image as they are. XML
    # cannot contain them, and no file of ours has a name with one.
    legal = _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)
    return ElementTree.fromstring(legal)  # noqa: S314 -- libvirt wrote it


def _text(root: ElementTree.Element, path: str) -> str:
    text = root.findtext(path)
    if text is None:
        raise Libvirt(f"The description of a {root.tag} by libvirt has no {path}.")
    return text


def _format(root: ElementTree.Element, path: str) -> str | None:
    element = root.find(path)
    return None if element is None else element.get("type")
