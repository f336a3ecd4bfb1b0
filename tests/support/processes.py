# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes as the kernel describes them in /proc: user, capabilities, filters, descriptors."""

import contextlib
import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

# linux/capability.h, in its order.
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
_OUTPUT, _ERROR = 1, 2
"""Standard output and error: /dev/null, a log, or a pipe for the end of error messages."""


class Kind(StrEnum):
    """The target of a descriptor."""

    SOCKET = "socket"
    PIPE = "pipe"
    DIRECTORY = "directory"
    FILE = "file"
    READ_ONLY_FILE = "read-only file"


@dataclass(frozen=True, slots=True)
class Status:
    """What /proc/PID/status says.

    Attributes:
        uids: The real, effective, saved and file system uid.
        capabilities: The effective ones.
        no_new_privileges: Whether it can gain none by execve(2).
        filtered: Whether it has a seccomp filter.
    """

    uids: tuple[int, ...]
    capabilities: frozenset[str]
    no_new_privileges: bool
    filtered: bool

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Read the text of the file."""
        fields = dict(line.split(":", 1) for line in text.splitlines())
        bits = int(fields["CapEff"], 16)
        return cls(
            uids=tuple(map(int, fields["Uid"].split())),
            capabilities=frozenset(
                name for number, name in enumerate(CAPABILITIES) if bits >> number & 1
            ),
            no_new_privileges=fields["NoNewPrivs"].strip() == "1",
            filtered=fields["Seccomp"].strip() == "2",
        )


@dataclass(frozen=True, slots=True)
class Process:
    """A process at one moment.

    Attributes:
        pid: Its number.
        program: Its command line, with blanks.
        status: Its rights.
        descriptors: What it has open, without devices, the kernel's anonymous files, and its log.
    """

    pid: int
    program: str
    status: Status
    descriptors: tuple[Kind, ...]

    @classmethod
    def seen(cls, pid: int) -> Self:
        """Look at a process."""
        place = Path(f"/proc/{pid}")
        return cls(
            pid=pid,
            program=(place / "cmdline").read_bytes().replace(b"\0", b" ").decode(),
            status=Status.parsed((place / "status").read_text()),
            descriptors=tuple(_open_in(place)),
        )


def has_ended(pid: int) -> bool:
    """Whether a process has ended, or ended and was not reaped."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    return True


def _open_in(place: Path) -> list[Kind]:
    found: set[tuple[str, Kind | None]] = set()
    log = (place / "fd" / str(_ERROR)).readlink()
    for entry in (place / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            number, target = int(entry.name), entry.readlink()
            if number != _ERROR and not (number == _OUTPUT and target == log):
                # Once for each target: a duplicate gives no further access.
                found.add((str(target), _kind(entry, place / "fdinfo" / entry.name)))
    return [kind for _, kind in found if kind is not None]


def _kind(entry: Path, info: Path) -> Kind | None:
    mode = entry.stat().st_mode
    if stat.S_ISSOCK(mode):
        return Kind.SOCKET
    if stat.S_ISFIFO(mode):
        return Kind.PIPE
    if stat.S_ISDIR(mode):
        return Kind.DIRECTORY
    if not stat.S_ISREG(mode) or "anon_inode" in entry.readlink().name:
        return None
    flags = int(info.read_text().split("flags:")[1].split()[0], 8)
    return Kind.READ_ONLY_FILE if flags & os.O_ACCMODE == os.O_RDONLY else Kind.FILE
