# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs in our initrd: our init, which is part of the package, and the host's busybox."""

import struct
from pathlib import Path

from virtlayer.errors import Unsupported

INIT = Path(__file__).with_name("guest") / "init"
_BUSYBOX = (Path("/usr/bin/busybox"), Path("/usr/sbin/busybox"))

_HEAD_READ = 64 * 1024
_ELF_64 = b"\x7fELF\x02"
_SEGMENTS = struct.Struct("32xQ14xHH")
"""Of an ELF header: where the program headers are, the size of one, and their number."""
_INTERPRETER = struct.pack("I", 3)
"""The type of the program header of a program that is linked dynamically (PT_INTERP)."""


def busybox() -> Path:
    """Return the file of busybox, a static program.

    Raises:
        Unsupported: This host has none.
    """
    for path in _BUSYBOX:
        if path.exists() and _is_static(path):
            return path
    raise Unsupported(
        f"The initrd of machines requires a static {_BUSYBOX[0]}. Install the package "
        "busybox-static (Fedora: busybox)."
    )


def _is_static(program: Path) -> bool:
    with program.open("rb") as stream:
        head = stream.read(_HEAD_READ)
    if not head.startswith(_ELF_64) or len(head) < _SEGMENTS.size:
        return False
    start, size, count = _SEGMENTS.unpack_from(head)
    return not any(
        head[at : at + len(_INTERPRETER)] == _INTERPRETER
        for at in range(start, start + size * count, max(size, 1))
    )
