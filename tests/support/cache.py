# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests keep for their next run, in ``.cache/`` of the checkout."""

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.support.ordinary_user import CHECKOUT

CACHE = CHECKOUT / ".cache"


def kept(name: str, make: Callable[[Path], Path]) -> Path:
    """Return the path of a file or directory in the cache; the first call makes it.

    Another process that wants it meanwhile waits.

    Args:
        name: Its name in the cache.
        make: Makes it in an empty directory, and returns where it is.
    """
    path = CACHE / name
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        with (CACHE / f"{name}.lock").open("w") as lock:
            if os.geteuid() == 0:
                # The user to whom the checkout belongs may need them next.
                owner = CHECKOUT.stat()
                for made in (CACHE, lock.fileno()):
                    os.chown(made, owner.st_uid, owner.st_gid)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                    make(Path(scratch)).rename(path)
    return path
