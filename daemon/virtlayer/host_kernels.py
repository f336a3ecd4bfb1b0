# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the kernel of this host that machines boot with if their image has none.

It is the running one if its file exists, else the newest. The service and the keeper choose it by
the same rule, so that the service need not name a file to the keeper.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_BOOT = Path("/boot")
_PREFIX = "vmlinuz-"
_RESCUE = "vmlinuz-0-rescue-"
_MODULES = (Path("/usr/lib/modules"), Path("/lib/modules"))


@dataclass(frozen=True, slots=True)
class HostKernel:
    """A kernel of this host.

    Attributes:
        version: Its version.
        image: Its file.
    """

    version: str
    image: Path

    @property
    def modules(self) -> Path | None:
        """The directory of its modules; None if there is none."""
        return modules_of(self.version)


def host_kernel() -> HostKernel | None:
    """Return the kernel for machines; None if there is none."""
    running = _BOOT / f"{_PREFIX}{os.uname().release}"
    if running.exists():
        return HostKernel(os.uname().release, running)
    images = [path for path in _BOOT.glob(f"{_PREFIX}*") if not path.name.startswith(_RESCUE)]
    if not images:
        return None
    image = max(images, key=lambda path: version_order(path.name))
    return HostKernel(image.name.removeprefix(_PREFIX), image)


def modules_of(version: str, *before: Path) -> Path | None:
    """Return the directory of the modules of a kernel; None if there is none.

    Args:
        version: The version of the kernel.
        before: Directories to look in before those of the host.
    """
    places = (parent / version for parent in (*before, *_MODULES))
    return next((place for place in places if place.is_dir()), None)


def version_order(name: str) -> list[tuple[int, str]]:
    """Return the parts of a version to sort by; numbers are compared as numbers."""
    return [(int(part or 0), word) for part, word in re.findall(r"(\d+)|(\D+)", name)]
