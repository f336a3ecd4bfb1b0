# SPDX-License-Identifier: LGPL-2.1-or-later
"""Access to files that a process gives up permanently (landlock(7))."""

import os

from virtlayer.worker.sandbox._sandbox import ffi, lib

# The rights of linux/landlock.h by the version that introduced them.
_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_EXECUTE, _READ_FILE, _READ_DIRECTORY, _IOCTL = 1 << 0, 1 << 2, 1 << 3, 1 << 15
_LINKS_SINCE = 2
"""The version before it refuses every hard link between directories."""


def stay_below(directory: int) -> None:
    """Refuse all access to files that are not in a directory.

    It does not keep a process from changing the permissions and times of files elsewhere.

    Args:
        directory: A descriptor.

    Raises:
        OSError: The kernel has no Landlock, or an old one.
    """
    version = lib.vl_landlock_version()
    if version < _LINKS_SINCE:
        raise OSError(
            "Writing a directory requires unprivileged user namespaces or Landlock version 2. This "
            "kernel has neither."
        )
    rights = _rights_of(version)
    _restrict(rights, directory, rights & ~(_EXECUTE | _IOCTL))


def refuse_writing() -> None:
    """Refuse to write, make or remove files, where the kernel has Landlock."""
    version = lib.vl_landlock_version()
    if version > 0:
        _restrict(_rights_of(version) & ~(_EXECUTE | _READ_FILE | _READ_DIRECTORY), -1, 0)


def read_below(directory: int) -> None:
    """Refuse all access to files but reading those in a directory, where the kernel has Landlock.

    Args:
        directory: A descriptor.

    Raises:
        OSError: The kernel refuses.
    """
    version = lib.vl_landlock_version()
    if version > 0:
        _restrict(_rights_of(version), directory, _READ_FILE | _READ_DIRECTORY)


def _rights_of(version: int) -> int:
    return sum(bits for since, bits in _RIGHTS.items() if since <= version)


def _restrict(refused: int, directory: int, allowed_in_it: int) -> None:
    if lib.vl_landlock(refused, directory, allowed_in_it) != 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno), "landlock")
