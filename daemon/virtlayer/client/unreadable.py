# SPDX-License-Identifier: LGPL-2.1-or-later
"""The error for a file of the caller's that the command cannot read."""

from virtlayer.errors import NotAuthorized, VirtlayerError


def unreadable(what: str, error: OSError, otherwise: type[VirtlayerError]) -> VirtlayerError:
    """Return the error for a failed system call.

    Args:
        what: The file, and the option that named it.
        error: The error of the system call.
        otherwise: The error for anything but missing permissions.
    """
    kind = NotAuthorized if isinstance(error, PermissionError) else otherwise
    return kind(f"Cannot read {what}: {error.strerror or error}.")
