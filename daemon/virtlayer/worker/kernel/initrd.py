# SPDX-License-Identifier: LGPL-2.1-or-later
"""Composes our initrd: an archive with our init, busybox, and modules.

The same content always gives the same bytes: members are sorted, and have no times and owners. The
format is newc (in the kernel's documentation: driver-api/early-userspace/buffer-format.rst).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from virtlayer.worker.kernel.modules import Module

_DIRECTORY, _PROGRAM, _FILE = 0o040755, 0o100755, 0o100644
_END = "TRAILER!!!"
_ALIGNED = 4


def initrd(init: bytes, busybox: bytes, modules: Iterable[Module]) -> Iterator[bytes]:
    """Return the pieces of our initrd.

    Args:
        init: Our init, a static program.
        busybox: A static busybox, which our init runs as its DHCP client.
        modules: In the order in which our init loads them.
    """
    files = {f"lib/{module.file}": module.content for module in modules}
    listed = "".join(f"/{path}\n" for path in files)
    members = {
        "bin": (_DIRECTORY, b""),
        "bin/busybox": (_PROGRAM, busybox),
        "init": (_PROGRAM, init),
        "lib": (_DIRECTORY, b""),
        "modules": (_FILE, listed.encode()),
        "newroot": (_DIRECTORY, b""),
        **{path: (_FILE, content) for path, content in files.items()},
    }
    for number, name in enumerate(sorted(members), start=1):
        mode, content = members[name]
        yield _member(number, name, mode, content)
    yield _member(0, _END, 0, b"")


def _member(number: int, name: str, mode: int, content: bytes) -> bytes:
    links = 2 if mode == _DIRECTORY else 1
    # Owner and group 0, time 0, no device.
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name.encode()) + 1, 0)
    header = "070701" + "".join(f"{field:08x}" for field in fields) + f"{name}\0"
    return _padded(header.encode()) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNED)
