# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removing a directory, whatever a stranger's image has put into it."""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

from virtlayer.programs import ProgramFailed, run


async def remove_tree(directory: Path) -> None:
    """Remove a directory with all that is in it, as far as that can be done.

    Trees of images are deeper than a process may open directories, and have some that their owner
    may not write, which chmod(1) and rm(1) cope with. Neither follows symlinks.
    """
    if await asyncio.to_thread(_remove_flat, directory):
        return
    with contextlib.suppress(ProgramFailed):
        if os.geteuid() != 0:
            await run(["chmod", "--recursive", "--silent", "u+rwx", "--", directory])
    with contextlib.suppress(ProgramFailed):
        await run(["rm", "--recursive", "--force", "--one-file-system", "--", directory])
    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


def _remove_flat(directory: Path) -> bool:
    """Remove a directory that has none in it; False if it has, or if that cannot be told."""
    try:
        if any(path.is_dir() and not path.is_symlink() for path in directory.iterdir()):
            return False
    except OSError:
        return False
    shutil.rmtree(directory, ignore_errors=True)
    return True
