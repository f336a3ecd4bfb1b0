# SPDX-License-Identifier: LGPL-2.1-or-later
"""The interface of a directory with the modules of one kernel, in an image or on the host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

ENTRIES_LIMIT = 100_000
"""Files and directories of one kernel; distributions have up to 8,000."""
DEPTH_LIMIT = 16


class ModuleTree(Protocol):
    """The directory ``modules/VERSION``."""

    def paths(self) -> Iterable[str]:
        """The paths of all regular files in it, relative to it; symlinks are not followed.

        Raises:
            Unusable: There are too many.
        """

    def read(self, path: str, limit: int) -> bytes | None:
        """The content of a regular file in it; None if it does not exist.

        Raises:
            Unusable: It is not a regular file, or has more bytes than the limit.
        """
