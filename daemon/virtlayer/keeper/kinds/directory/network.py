# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks whether locks in a directory are shared by all hosts that mount it."""

import os
from collections.abc import Iterable
from pathlib import Path

from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.calls import is_nfs
from virtlayer.protocol.pools import Pool


def check_locks_are_shared(pool: Pool, directory: int) -> None:
    """Check that locks in a pool's directory are valid for all hosts, if it is on NFS.

    Args:
        pool: The pool, for the error.
        directory: A descriptor of its directory.

    Raises:
        PoolUnsupported: It is not.
    """
    if not is_nfs(directory):
        return
    problem = local_locks(_mount(directory))
    if problem:
        raise PoolUnsupported(
            f'The pool "{pool.name}" ({pool.path}) is on NFS with {problem}: locks would be those '
            "of this host alone, and other hosts could delete what is used here. Mount it with "
            "-o vers=4.2, and without nolock and local_lock."
        )


def local_locks(mount: Iterable[str]) -> str:
    """Return the property of an NFS mount that keeps its locks on this host; "" if it has none.

    Args:
        mount: The fields of its line in ``/proc/self/mountinfo`` (proc(5)).
    """
    fields = list(mount)
    if "-" not in fields:
        return "unknown options"
    kind, _source, text = fields[fields.index("-") + 1 :]
    options = text.split(",")
    version = next((one for one in options if one.startswith("vers=")), "vers=3")
    # NFS before version 4 has a separate protocol for locks, or no locks.
    if kind != "nfs4" or not version.startswith("vers=4"):
        return version
    for option in options:
        if option == "nolock" or (option.startswith("local_lock=") and option != "local_lock=none"):
            return option
    return ""


def _mount(directory: int) -> list[str]:
    info = Path(f"/proc/self/fdinfo/{directory}").read_text(encoding="ascii")
    number = dict(line.split(":", 1) for line in info.splitlines())["mnt_id"].strip()
    # Bytes of other mounts' names may be anything.
    text = os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
    lines = (line.split() for line in text.splitlines())
    return next((fields for fields in lines if fields[0] == number), [])
