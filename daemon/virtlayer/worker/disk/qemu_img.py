# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lets qemu-img examine a disk from an image: without rights, files to write, or a network.

``python -m virtlayer.worker.disk.qemu_img DESCRIPTOR`` reads the header, and becomes qemu-img,
which prints JSON. If the header is wrong, it prints ``{"problem": text}``.
"""

from __future__ import annotations

import json
import os
import sys

from virtlayer.protocol.disk_format import HEADER_READ, BadDisk, disk_format
from virtlayer.worker.sandbox.enter import Limits, limit, refuse_root
from virtlayer.worker.sandbox.landlock import refuse_writing
from virtlayer.worker.sandbox.seccomp import WORKER_CALLS, Rule, allow_only, equals, has_bits

_QEMU_IMG = "/usr/bin/qemu-img"
_OUTPUT = 1
_LIMITS = Limits(memory=2 * 1024**3, cpu_seconds=10, descriptors=32)

_FLAGS_OF_OPENAT, _NEW_LIMIT = 2, 2
_WRITING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC

_QEMU_CALLS: tuple[Rule, ...] = (
    *WORKER_CALLS,
    # The start of the program, and of the libraries that it is linked with: code.
    *((name,) for name in ("execve", "arch_prctl", "set_tid_address", "prctl", "mmap", "mprotect")),
    *((name,) for name in ("access", "faccessat", "readlink", "readlinkat", "getdents64")),
    ("openat", has_bits(_FLAGS_OF_OPENAT, 0, among=_WRITING)),
    *((name,) for name in ("newfstatat", "pread64", "preadv", "fstatfs")),
    ("prlimit64", equals(_NEW_LIMIT, 0)),
    # Its event loop.
    *((name,) for name in ("eventfd2", "signalfd4", "timerfd_create", "timerfd_settime")),
    *((name,) for name in ("epoll_create1", "epoll_ctl", "epoll_pwait", "pipe2")),
)
"""What qemu-img does to start and to read one disk."""


def enter() -> None:
    """Give up what qemu-img does not need to examine a disk. This is irreversible.

    Raises:
        OSError: The kernel refuses a part, or this is root; the caller must end then.
    """
    refuse_root()
    refuse_writing()
    limit(_LIMITS)
    allow_only(_QEMU_CALLS)


def main() -> None:
    """Become qemu-img."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, True)
    enter()
    try:
        image_format = disk_format(os.pread(descriptor, HEADER_READ, 0))
    except BadDisk as error:
        os.write(_OUTPUT, json.dumps({"problem": str(error)}).encode())
        return
    # By the descriptor: this user cannot find the file by its name. Without locks: nobody else has
    # the file, and qemu-img would open /dev/null for writing to find out which locks there are.
    file = f"file.driver=file,file.locking=off,file.filename=/proc/self/fd/{descriptor}"
    argv = [_QEMU_IMG, "info", "--output=json", "--image-opts", f"driver={image_format},{file}"]
    os.execve(_QEMU_IMG, argv, {"LANG": "C.UTF-8"})  # noqa: S606 -- the purpose of this process


if __name__ == "__main__":
    main()
