# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs in our initrd: our init, which is part of the package, and the host's busybox."""

from pathlib import Path

from virtlayer.errors import Unsupported

INIT = Path(__file__).with_name("guest") / "init"
_BUSYBOX = (Path("/usr/bin/busybox"), Path("/usr/sbin/busybox"))


def busybox() -> Path:
    """Return the file of busybox, which must be a static program.

    Raises:
        Unsupported: This host has none.
    """
    for path in _BUSYBOX:
        if path.exists():
            return path
    raise Unsupported(
        f"A machine without an init of its own requires {_BUSYBOX[0]}. Install the package "
        "busybox-static (Fedora: busybox)."
    )
