# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sets the extended attributes of files on the host.

Attributes that only root of the whole system could set (``trusted.*``, labels of security modules)
are left out, and so are attributes that the pool's file system does not support. A user's files get
``user.*`` only: an access control list of the image would give rights on them to other users of the
host who have the same ids.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

DEFAULT_ACL = b"system.posix_acl_default"
_FOR_ROOT = (b"security.capability", b"system.posix_acl_access", DEFAULT_ACL)
_USER = b"user."
_REFUSED = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL)
_TOO_MUCH = (errno.ENOSPC, errno.EDQUOT, errno.E2BIG, errno.ERANGE)
_NOT_THERE = (errno.ENODATA, errno.EOPNOTSUPP)

type Place = int | bytes
"""A descriptor, or a name in the present directory of the process."""


class AttributesDoNotFit(Exception):
    """The pool's file system has no room for the extended attributes of a file."""


class Attributes:
    """Sets attributes, and counts those that are left out.

    Args:
        squashed: Whether the files are a user's, and not root's to give away.
    """

    def __init__(self, *, squashed: bool) -> None:
        self.skipped = 0
        self._for_root = () if squashed else _FOR_ROOT

    def set_all(self, place: Place, attributes: Mapping[bytes, bytes]) -> None:
        """Set these attributes.

        Raises:
            AttributesDoNotFit: The file system has no room for one.
        """
        for name in sorted(attributes):
            if not self._is_ours(name) or not _set(place, name, attributes[name]):
                self.skipped += 1

    def replace_all(self, place: Place, attributes: Mapping[bytes, bytes]) -> None:
        """Set these attributes, and remove those that an image may have set before."""
        for name in self.read_all(place):
            if name not in attributes:
                os.removexattr(place, name, follow_symlinks=_follows(place))
        self.set_all(place, attributes)

    def read_all(self, place: Place) -> dict[bytes, bytes]:
        """Return the attributes that an image can have set."""
        try:
            names = os.listxattr(place, follow_symlinks=_follows(place))
        except OSError as error:
            if error.errno in _NOT_THERE:
                return {}
            raise
        return {
            name: os.getxattr(place, name, follow_symlinks=_follows(place))
            for name in map(os.fsencode, names)
            if self._is_ours(name)
        }

    def default(self, acl: bytes | None) -> dict[bytes, bytes]:
        """A default ACL as an attribute, if there is one."""
        return {} if acl is None else {DEFAULT_ACL: acl}

    def take_default_acl(self, directory: int) -> bytes | None:
        """Remove the ACL that new files in a directory would get; None if it has none."""
        if DEFAULT_ACL not in self._for_root:
            return None
        try:
            value = os.getxattr(directory, DEFAULT_ACL)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        os.removexattr(directory, DEFAULT_ACL)
        return value

    def _is_ours(self, name: bytes) -> bool:
        return name.startswith(_USER) or name in self._for_root


def _set(place: Place, name: bytes, value: bytes) -> bool:
    try:
        os.setxattr(place, name, value, follow_symlinks=_follows(place))
    except OSError as error:
        if error.errno in _TOO_MUCH:
            raise AttributesDoNotFit from error
        if error.errno in _REFUSED:
            return False
        raise
    return True


def _follows(place: Place) -> bool:
    """Whether to follow symlinks: Python requires that for a descriptor."""
    return isinstance(place, int)
