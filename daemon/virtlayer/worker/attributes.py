# SPDX-License-Identifier: LGPL-2.1-or-later
"""Selects the extended attributes that a node may have on Linux.

No kernel checks them, so the rules of xattr(7), acl(5) and capabilities(7) are checked here. An
attribute that Linux does not support is left out, as it is where an archive is unpacked and
setxattr(2) fails with ENOTSUP. A damaged attribute makes the layer malformed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from virtlayer.worker.problems import BadArchive, TooLarge, quoted
from virtlayer.worker.tree import DIRECTORY, NO_ATTRIBUTES, REGULAR, SYMLINK

_ACCESS_ACL = b"system.posix_acl_access"
_DEFAULT_ACL = b"system.posix_acl_default"
_CAPABILITY = b"security.capability"
_NAMESPACES = (b"user.", b"trusted.", b"security.", b"gnu.")

_NAME_LIMIT = 255
_VALUE_LIMIT = 65536

_ACL_HEADER = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_VERSION = 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_ACL_ONCE = (_USER_OBJ, _GROUP_OBJ, _OTHER)

_CAPABILITY_SIZES = {1: 12, 2: 20, 3: 24}
"""Bytes of each revision (struct vfs_ns_cap_data in linux/capability.h)."""


def storable_attributes(attributes: Mapping[bytes, bytes], kind: int) -> Mapping[bytes, bytes]:
    """Return the attributes that a node of a kind can have on Linux.

    Args:
        attributes: Values by full names, as an archive has them.
        kind: The kind of the node, of ``tree``.

    Raises:
        BadArchive: A name or value is damaged.
        TooLarge: A name or value is longer than Linux takes.
    """
    for name in attributes:
        if not name or b"\0" in name or name in _NAMESPACES:
            raise BadArchive(f"the name of the extended attribute {quoted(name)} is invalid")
    kept = {name: value for name, value in attributes.items() if _has_a_place(name, kind)}
    for name, value in kept.items():
        _check(name, value)
    return kept or NO_ATTRIBUTES


def _has_a_place(name: bytes, kind: int) -> bool:
    if name == _ACCESS_ACL:
        return kind != SYMLINK
    if name == _DEFAULT_ACL:
        return kind == DIRECTORY
    if name.startswith(b"user."):
        return kind in (REGULAR, DIRECTORY)
    return name.startswith(_NAMESPACES)


def _check(name: bytes, value: bytes) -> None:
    if len(name) > _NAME_LIMIT:
        raise TooLarge(f"the name of an extended attribute has {len(name)} bytes; the limit is 255")
    if len(value) > _VALUE_LIMIT:
        raise TooLarge(f"the extended attribute {quoted(name)} has {len(value)} bytes")
    if name in (_ACCESS_ACL, _DEFAULT_ACL) and not _is_acl(value):
        raise BadArchive(f"the value of {quoted(name)} is not an access control list")
    if name == _CAPABILITY and not _is_capability(value):
        raise BadArchive(f"the value of {quoted(name)} is not a set of capabilities")


def _is_acl(value: bytes) -> bool:
    """Whether setxattr(2) would take it (struct posix_acl_xattr_header; posix_acl_valid)."""
    body = value[_ACL_HEADER.size :]
    if value[: _ACL_HEADER.size] != _ACL_HEADER.pack(_ACL_VERSION) or len(body) % _ACL_ENTRY.size:
        return False
    entries = list(_ACL_ENTRY.iter_unpack(body))
    tags = [tag for tag, _, _ in entries]
    return (
        tags == sorted(tags)
        and all(tags.count(tag) == 1 for tag in _ACL_ONCE)
        and tags.count(_MASK) <= 1
        and set(tags) <= {*_ACL_ONCE, _USER, _GROUP, _MASK}
        and (_MASK in tags or not {_USER, _GROUP} & set(tags))
        and all(permissions <= 7 for _, permissions, _ in entries)
        and all(number != 2**32 - 1 for tag, _, number in entries if tag in (_USER, _GROUP))
    )


def _is_capability(value: bytes) -> bool:
    return len(value) >= 4 and _CAPABILITY_SIZES.get(value[3]) == len(value)
