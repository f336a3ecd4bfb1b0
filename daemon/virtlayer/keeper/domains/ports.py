# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opens the log files of domains for the service, and has it informed of their changes.

Their directory is root's, and QEMU or virtlogd writes them: what the names stand for is checked.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from virtlayer.errors import Internal
from virtlayer.file_changes import watch
from virtlayer.keeper.beneath import NotRegular, by_descriptor, open_directory, open_regular, opened
from virtlayer.keeper.domains.logs import ROTATED_LIMIT

_INOTIFY = "anon_inode:inotify"


def open_log(log: Path, rotated: int, watchers: Sequence[int]) -> int | None:
    """Open a log file for reading; None if it does not exist.

    Args:
        log: The file.
        rotated: 0 for the present file, 1 for the last rotated one, and so on.
        watchers: The inotify descriptor of the service, which is to report changes of the file.

    Returns:
        A descriptor, which is the caller's.

    Raises:
        Internal: There is something else in the place of the file, or of the inotify descriptor.
    """
    if len(watchers) != 1 or str(Path(by_descriptor(watchers[0])).readlink()) != _INOTIFY:
        raise Internal("An inotify descriptor is required to open a log file.")
    if rotated > ROTATED_LIMIT:
        return None
    name = f"{log.name}.{rotated - 1}" if rotated else log.name
    try:
        with opened(open_directory(log.parent)) as directory:
            file = open_regular(directory, name)
    except FileNotFoundError:
        return None
    except NotRegular as error:
        raise Internal(f"The log file {name} is something else: {error.strerror}.") from error
    try:
        if os.fstat(file).st_nlink > 1:
            raise Internal(f"The log file {name} has another name, too. It was not opened.")
        watch(watchers[0], file)
    except BaseException:
        os.close(file)
        raise
    return file
