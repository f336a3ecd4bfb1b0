# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs run as an ordinary user, by tests that root runs."""

import os
import pwd
import stat
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# Puts the checkout back, in a mount namespace of its own, below a directory that lets users pass.
_PASS = """
held=$(mktemp -d) && mount --bind "$1" "$held" &&
mount -t tmpfs -o mode=755 tmpfs "$2" && mkdir -p "$1" && mount --bind "$held" "$1" &&
umount "$held" && rmdir "$held" && shift 2 && exec "$@"
"""


def as_user(uid: int, *argv: str | Path) -> list[str | Path]:
    """The command line that runs a program as a user, who can read this checkout.

    Args:
        uid: The user; whoever runs the tests can run programs as himself, root as anybody.
        argv: The program and its arguments.
    """
    if uid == os.geteuid():
        return list(argv)
    group = pwd.getpwuid(uid).pw_gid
    drop = ("setpriv", f"--reuid={uid}", f"--regid={group}", "--clear-groups", "--")
    return [*_let_pass(Path(argv[0])), *drop, *argv]


def _let_pass(program: Path) -> list[str | Path]:
    """Root's checkout may lie where only root may go, such as /root.

    What is not of the checkout stays in the mount namespace of all, and sees what is mounted later.
    """
    if not program.is_relative_to(CHECKOUT):
        return []
    for directory in reversed(CHECKOUT.parents):
        if not directory.stat().st_mode & stat.S_IXOTH:
            return ["unshare", "--mount", "--", "sh", "-c", _PASS, "sh", CHECKOUT, directory]
    return []
