# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks the host name of /etc/hostname (hostname(5), hostname(7))."""

from __future__ import annotations

import re

from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable

_LIMIT = 64
"""The limit of Linux (HOST_NAME_MAX)."""
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def checked_hostname(name: str) -> str:
    """The name.

    Raises:
        InvalidArgument: It is not a valid host name (RFC 1123, section 2.1), or is longer than
            Linux permits.
    """
    if not is_hostname(name):
        raise InvalidArgument(
            f'Invalid hostname "{printable(name[:80])}": it has at most {_LIMIT} characters, in '
            "labels of letters, digits and inner hyphens that are separated by dots."
        )
    return name


def is_hostname(name: str) -> bool:
    """Whether a name is a valid host name."""
    return len(name) <= _LIMIT and all(_LABEL.fullmatch(label) for label in name.split("."))


def hostname_file(name: str) -> bytes:
    """The content of /etc/hostname."""
    return f"{name}\n".encode()
