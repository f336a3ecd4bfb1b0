# SPDX-License-Identifier: LGPL-2.1-or-later
"""Maps of user and group ids, also in extended attributes.

A map has ranges, as in user namespaces (user_namespaces(7)). Each id is looked up once,
in all ranges at the same time: if 0 becomes 1000, that 1000 is not mapped again. An id
in no range stays what it is.
"""

from __future__ import annotations

import bisect
import itertools
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from virtlayer.errors import InvalidArgument

_ID_END = 2**32 - 1
"""The first number that is not an id: -1 means none (chown(2))."""
_RANGES_LIMIT = 340
"""The limit of the kernel for a user namespace (user_namespaces(7))."""

_CAPABILITY = b"security.capability"
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
MAPPED_ATTRIBUTES = (_CAPABILITY, *_ACLS)
"""The extended attributes that can have ids in them."""

# struct vfs_ns_cap_data (linux/capability.h): magic and flags, two times two masks, root id.
_CAPABILITY_WITH_ROOT = struct.Struct("<I16sI")
_CAPABILITY_OF_REVISION_1, _CAPABILITY_OF_REVISION_2 = struct.Struct("<I8s"), struct.Struct("<I16s")
_REVISION_MASK, _REVISION_3 = 0xFF000000, 0x03000000

# struct posix_acl_xattr_header and _entry (linux/posix_acl_xattr.h), which setxattr(2) takes.
_ACL_HEADER = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_USER, _ACL_GROUP = 0x02, 0x08


@dataclass(frozen=True, slots=True, order=True)
class IdRange:
    """``count`` ids from ``start`` on become those from ``target`` on."""

    start: int
    target: int
    count: int


class UnmappedId(Exception):
    """An id without a range, in a map that must cover all ids.

    Args:
        name: The caller's name for the map.
        number: The id.
    """

    def __init__(self, name: str, number: int) -> None:
        super().__init__(name, number)
        self.name = name
        self.number = number


class IdMap:
    """A map of ids.

    Args:
        ranges: In any order.
        name: The caller's name for it, for errors.
        is_complete: Whether an id in no range is an error, instead of staying what it is.

    Raises:
        InvalidArgument: A range is empty or leaves the ids, two of them overlap, or they are more
            than the kernel takes.
    """

    __slots__ = ("_is_complete", "_name", "_starts", "ranges")

    def __init__(self, ranges: Iterable[IdRange], name: str, *, is_complete: bool = False) -> None:
        given = tuple(ranges)
        if len(given) > _RANGES_LIMIT:
            raise InvalidArgument(
                f"The {name} has {len(given)} ranges; the limit is {_RANGES_LIMIT}."
            )
        self._name, self._is_complete = name, is_complete
        self.ranges = tuple(sorted(given))
        self._starts = [one.start for one in self.ranges]
        for one in self.ranges:
            _check(one, name)
        _check_apart([(one.start, one) for one in self.ranges], name, "start")
        _check_apart(sorted((one.target, one) for one in self.ranges), name, "target")

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __call__(self, number: int) -> int:
        """Return the mapped id.

        Raises:
            UnmappedId: It is in no range, and the map must have all.
        """
        at = bisect.bisect_right(self._starts, number) - 1
        if at >= 0:
            found = self.ranges[at]
            if number - found.start < found.count:
                return found.target + number - found.start
        if self._is_complete:
            raise UnmappedId(self._name, number)
        return number


@dataclass(frozen=True, slots=True)
class Owners:
    """The maps of users and groups together.

    Attributes:
        uids: Of users.
        gids: Of groups.
        contained: Whether they are those of a user namespace. Then capabilities hold only in a
            namespace whose root is what 0 becomes.
    """

    uids: IdMap
    gids: IdMap
    contained: bool = False

    def attribute(self, name: bytes, value: bytes) -> bytes:
        """An extended attribute with the ids in it mapped.

        Capabilities of revision 2 name no root, and are valid in every user namespace. They stay,
        unless the maps are those of a user namespace.

        Args:
            name: Its full name.
            value: As setxattr(2) takes it.

        Raises:
            UnmappedId: It has an id that is in no range, and the map must have all.
        """
        if name == _CAPABILITY:
            return self._capability(value)
        if name in _ACLS:
            return self._acl(value)
        return value

    def _capability(self, value: bytes) -> bytes:
        if self.contained and len(value) == _CAPABILITY_OF_REVISION_1.size:
            value = value.ljust(_CAPABILITY_OF_REVISION_2.size, b"\0")
        if self.contained and len(value) == _CAPABILITY_OF_REVISION_2.size:
            magic, masks = _CAPABILITY_OF_REVISION_2.unpack(value)
            magic = magic & ~_REVISION_MASK | _REVISION_3
            return _CAPABILITY_WITH_ROOT.pack(magic, masks, self.uids(0))
        if len(value) != _CAPABILITY_WITH_ROOT.size:
            return value
        magic, masks, root = _CAPABILITY_WITH_ROOT.unpack(value)
        if magic & _REVISION_MASK != _REVISION_3:
            return value
        return _CAPABILITY_WITH_ROOT.pack(magic, masks, self.uids(root))

    def _acl(self, value: bytes) -> bytes:
        head, body = value[: _ACL_HEADER.size], value[_ACL_HEADER.size :]
        if len(body) % _ACL_ENTRY.size:
            return value
        return head + b"".join(
            _ACL_ENTRY.pack(tag, permissions, self._acl_id(tag, number))
            for tag, permissions, number in _ACL_ENTRY.iter_unpack(body)
        )

    def _acl_id(self, tag: int, number: int) -> int:
        if tag == _ACL_USER:
            return self.uids(number)
        return self.gids(number) if tag == _ACL_GROUP else number


def _check(one: IdRange, name: str) -> None:
    if one.count < 1:
        raise InvalidArgument(f"The {name} has an empty range: {_shown(one)}.")
    if min(one.start, one.target) < 0 or max(one.start, one.target) + one.count > _ID_END:
        raise InvalidArgument(
            f"The {name} has a range beyond the last ID, {_ID_END - 1}: {_shown(one)}."
        )


def _check_apart(ordered: list[tuple[int, IdRange]], name: str, side: str) -> None:
    for (first, one), (second, other) in itertools.pairwise(ordered):
        if second < first + one.count:
            raise InvalidArgument(
                f"The {name} has ranges with overlapping {side}s: {_shown(one)} and "
                f"{_shown(other)}."
            )


def _shown(one: IdRange) -> str:
    return f"start {one.start}, target {one.target}, count {one.count}"
