# SPDX-License-Identifier: LGPL-2.1-or-later
"""Has qemu-img look at a disk that a stranger made: without rights, files to write, or a network.

``python -m virtlayer.worker.disk.qemu_img FORMAT DESCRIPTOR`` becomes qemu-img, which prints JSON.
"""

from __future__ import annotations

import os
import sys

from virtlayer.worker.sandbox.enter import Limits, become_nobody, die_with_parent, limit
from virtlayer.worker.sandbox.landlock import refuse_writing
from virtlayer.worker.sandbox.seccomp import refuse

_QEMU_IMG = "/usr/bin/qemu-img"
_LIMITS = Limits(memory=2 * 1024**3, cpu_seconds=10, descriptors=32)
_NOT_NEEDED = (
    *("socket", "connect", "bind", "listen", "ptrace", "process_vm_readv", "process_vm_writev"),
    *("mount", "unshare", "setns", "bpf", "io_uring_setup", "userfaultfd", "keyctl", "add_key"),
)


def main() -> None:
    """Become qemu-img."""
    image_format, descriptor = sys.argv[1:]
    os.set_inheritable(int(descriptor), True)
    if os.geteuid() == 0:
        become_nobody()
        die_with_parent()
    refuse_writing()
    limit(_LIMITS)
    refuse(_NOT_NEEDED)
    # By the descriptor: this user cannot find the file by its name.
    file = f"/proc/self/fd/{descriptor}"
    argv = [_QEMU_IMG, "info", "--output=json", "-f", image_format, file]
    os.execve(_QEMU_IMG, argv, {"LANG": "C.UTF-8"})  # noqa: S606 -- what this process is for


if __name__ == "__main__":
    main()
