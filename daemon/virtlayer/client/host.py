# SPDX-License-Identifier: LGPL-2.1-or-later
"""What commands must know of the host where the service runs, apart from the service."""

import os
import pwd
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from virtlayer.client.architectures import host_architecture
from virtlayer.client.kernels import Kernel, newest_kernel
from virtlayer.client.replacement import replace_by
from virtlayer.errors import NoKernel


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What domain XML depends on.

    Attributes:
        architecture: The processor architecture, as an OCI config names it.
        has_kvm: Whether machines of the service can use KVM.
        kernel: The newest kernel that is installed; None if there is none.
        existing: Those of the files in question that exist.
    """

    architecture: str
    has_kvm: bool
    kernel: Kernel | None
    existing: frozenset[Path]


class Host(Protocol):
    """A host.

    Attributes:
        name: Its name, for messages; "" for this one.
    """

    name: str

    async def facts(self, files: Sequence[Path]) -> HostFacts:
        """Return what domain XML depends on.

        Args:
            files: Absolute paths of files that may exist.
        """

    async def user_names(self, uids: Iterable[int]) -> dict[int, str]:
        """Return the names of users, without those that have none."""

    async def print_journal(self, job: int, pid: int | None, *, as_json: bool) -> int:
        """Print the lines of a job in the journal.

        Args:
            job: Its ID.
            pid: The process of the service; None for any.
            as_json: Whether to print each line as JSON.

        Returns:
            The exit status of journalctl(1).

        Raises:
            InvalidArgument: journalctl is not installed.
        """


class ThisHost:
    """The host of the command.

    Args:
        session: Whether the service is the user's own.
    """

    name = ""

    def __init__(self, *, session: bool) -> None:
        self._session = session

    async def facts(self, files: Sequence[Path]) -> HostFacts:
        """See Host."""
        # In a session, a machine runs as the caller; otherwise as a user that libvirt gives access.
        wanted = os.R_OK | os.W_OK if self._session else os.F_OK
        try:
            kernel = newest_kernel()
        except NoKernel:
            kernel = None
        return HostFacts(
            host_architecture(),
            os.access("/dev/kvm", wanted),
            kernel,
            frozenset(path for path in files if os.access(path, os.F_OK)),
        )

    async def user_names(self, uids: Iterable[int]) -> dict[int, str]:
        """See Host."""
        return {user.pw_uid: user.pw_name for uid in uids if (user := _user(uid)) is not None}

    async def print_journal(self, job: int, pid: int | None, *, as_json: bool) -> int:
        """See Host; the program becomes journalctl."""
        replace_by(*journal_command(job, pid, as_json=as_json))


def journal_command(job: int, pid: int | None, *, as_json: bool) -> list[str]:
    """Return the command line that prints the lines of a job in the journal."""
    # For people, journalctl says that there are no lines, or that others would see more.
    options = ["--quiet", "--output=json"] if as_json else []
    matches = [f"VIRTLAYER_JOB={job}", *([] if pid is None else [f"_PID={pid}"])]
    return ["journalctl", "--no-pager", *options, *matches]


def _user(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return None
