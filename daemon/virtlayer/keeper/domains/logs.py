# SPDX-License-Identifier: LGPL-2.1-or-later
"""The log files of domains, in the directory where libvirt has those of QEMU.

Their names have the domain's UUID: a name can be that of another domain later. They do not end in
``.log``, because distributions let logrotate truncate such files there. virtlogd rotates them at
2 MiB: ``.0`` is the last rotated one. A user's QEMU writes them itself where qemu.conf says
``stdio_handler = "file"``, and then they are not rotated.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from virtlayer.errors import Libvirt
from virtlayer.keeper.beneath import open_directory, opened
from virtlayer.protocol.domains import DomainType

_SYSTEM = Path("/var/log/libvirt")
ROTATED_LIMIT = 10
"""virtlogd.conf's ``max_backups`` is 3."""


@dataclass(frozen=True, slots=True)
class Logs:
    """The log files of one domain.

    Attributes:
        directory: The directory that they are in.
        uuid: The domain.
    """

    directory: Path
    uuid: str

    @property
    def output(self) -> Path:
        """The output records of our init."""
        return self.directory / f"virtlayer-{self.uuid}.output"

    @property
    def console(self) -> Path:
        """What the machine writes to its first serial line."""
        return self.directory / f"virtlayer-{self.uuid}.console"


def log_directory(uri: str, kind: DomainType) -> Path:
    """The directory where libvirt's driver has the logs of its domains.

    Args:
        uri: The connection to libvirt.
        kind: The type of the domain.
    """
    driver = "lxc" if kind is DomainType.LXC else "qemu"
    if urlsplit(uri).path != "/session":
        return _SYSTEM / driver
    given = os.environ.get("XDG_CACHE_HOME")
    cache = Path(given) if given else Path.home() / ".cache"
    return cache / "libvirt" / driver / "log"


def make_log_directory(directory: Path) -> None:
    """Make the directory, which a session's libvirtd makes when it starts.

    Raises:
        Libvirt: It cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Libvirt(
            f"The directory {directory} for the logs of machines cannot be made: {error.strerror}. "
            "Start libvirtd, which makes it."
        ) from error


def remove_logs(directory: Path, names: Iterable[str]) -> None:
    """Delete log files with their rotated ones, as far as they exist.

    Args:
        directory: Their directory.
        names: Their names.
    """
    with contextlib.suppress(FileNotFoundError), opened(open_directory(directory)) as descriptor:
        for name in names:
            for one in (name, *(f"{name}.{number}" for number in range(ROTATED_LIMIT))):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(one, dir_fd=descriptor)
