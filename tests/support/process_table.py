# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process table of docs/security.md, as tests compare it with running processes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Self

from tests.support.ordinary_user import CHECKOUT
from tests.support.processes import CAPABILITIES, Kind, Process, Status

_PAGE = CHECKOUT / "docs" / "security.md"
_HEADING = "| process | user | capabilities | no new privileges | seccomp filter |"
_OF_UNITS = "its unit's"
_OF_SERVICE = "virtlayer"
_PRIVILEGES = {"yes": True, "in the system": False}
_FILTERS = {
    "its unit's": False,
    "no Unix sockets": True,
    "no processes": True,
    "its own": True,
    "a worker's": True,
}
"""Whether a process has it in a session as well."""
_OF_WORKERS, _OF_READERS = "a worker's", "its own"
"""With the first, a process opens no files; with the second, it opens none for writing."""
_WORKERS = {
    "virtlayer.worker.ext4.worker": "layer worker",
    "virtlayer.worker.customize.worker": "customizer",
    "virtlayer.worker.customize.identity_worker": "customizer",
    "virtlayer.worker.unpacking.worker": "unpacker",
    "virtlayer.worker.directory.worker": "directory worker",
    "virtlayer.worker.directory.customizer": "directory customizer",
    "virtlayer.worker.disk.worker": "disk worker",
    "virtlayer.worker.headers.worker": "header reader",
    "virtlayer.worker.kernel.worker": "kernel worker",
    "virtlayer.worker.kernel.host_worker": "host kernel worker",
    "virtlayer.keeper": "virtlayer-keeper",
    "virtlayer.rbd": "virtlayer-rbd",
}
_STARTERS = ("guard", "confine")
"""Programs that execute another program at once; their rights are not that program's."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        user: Its user in the system.
        capabilities: Those that it has in the system, if its parent has them; None for its unit's.
        no_new_privileges: Whether it can gain none, by a setuid program say, in a session as well.
        filtered: Whether it has a seccomp filter in a session as well.
        opens_files: Whether it can open files itself.
        only_reads: Whether it can write only to what it was given.
        started_with: The descriptors that it is started with.
        passed_later: The descriptors that come with a request.
        lifetime: When it ends.
    """

    user: str
    capabilities: frozenset[str] | None
    no_new_privileges: bool
    filtered: bool
    opens_files: bool
    only_reads: bool
    started_with: Counter[Kind]
    passed_later: Counter[Kind]
    lifetime: str

    @classmethod
    def parsed(cls, cells: list[str]) -> Self:
        """Read the cells after the name."""
        user, capabilities, privileges, seccomp, descriptors, lifetime = cells
        started_with, _, later = descriptors.partition("; then ")
        return cls(
            user=user.strip("`"),
            capabilities=None if capabilities == _OF_UNITS else _names(capabilities),
            no_new_privileges=_PRIVILEGES[privileges],
            filtered=_FILTERS[seccomp],
            opens_files=seccomp != _OF_WORKERS,
            only_reads=seccomp == _OF_READERS,
            started_with=_kinds(started_with),
            passed_later=_kinds(later),
            lifetime=lifetime,
        )

    def check_in_session(self, status: Status, *, uid: int, parent: frozenset[str]) -> None:
        """Compare user, capabilities, privileges and filter with those of a process in a session.

        Args:
            status: Of the process.
            uid: Of the row's user; of the session's user if that one is not root.
            parent: The capabilities of the process that started it.
        """
        assert set(status.uids) == {uid}
        inherits = self.capabilities is None or self.user == _OF_SERVICE
        allowed = parent if inherits else (self.capabilities or frozenset()) & parent
        assert status.capabilities == (allowed if uid == 0 else frozenset())
        assert status.no_new_privileges == self.no_new_privileges
        assert status.filtered == self.filtered

    def check_in_system(self, status: Status, *, uid: int, keeper: frozenset[str]) -> None:
        """Compare the same with those of a process in a system.

        Args:
            status: Of the process.
            uid: Of the row's user.
            keeper: The capabilities of the keeper's unit.
        """
        assert set(status.uids) == {uid}
        allowed = keeper if self.capabilities is None else self.capabilities & keeper
        assert status.capabilities == allowed
        assert status.no_new_privileges
        assert status.filtered

    def check_descriptors(self, process: Process, *, working: bool) -> None:
        """Compare the descriptors.

        Args:
            process: The process.
            working: Whether it has got those that come with a request.
        """
        expected = self.started_with + (self.passed_later if working else Counter())
        found = Counter(process.descriptors)
        if self.opens_files:
            assert not expected - found, (expected, found)
            # What its filter lets it open can only be read.
            assert not self.only_reads or found[Kind.FILE] == expected[Kind.FILE]
        else:
            assert found == expected


def name_of(command: Sequence[str]) -> str | None:
    """The row that a command line belongs to; None for a program that becomes another one.

    Args:
        command: The words.
    """
    program = PurePath(command[0]).name
    if program in _STARTERS or "virtlayer.worker.disk.qemu_img" in command:
        return None
    if program == "qemu-img":
        return f"qemu-img {command[1]}"
    if program == "qemu-storage-daemon" and any('"driver": "rbd"' in word for word in command):
        return "RBD image server"
    if not program.startswith("python"):
        return program
    if "-m" in command:
        return _WORKERS[command[command.index("-m") + 1]]
    return PurePath(next(word for word in command[1:] if not word.startswith("-"))).name


def process_table() -> Mapping[str, Row]:
    """The rows by the names of the processes."""
    lines = iter(_PAGE.read_text(encoding="utf-8").splitlines())
    while not next(lines).startswith(_HEADING):
        pass
    next(lines)
    rows = {}
    for line in lines:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name.strip("`")] = Row.parsed(cells)
    return rows


def _names(cell: str) -> frozenset[str]:
    names = frozenset[str]() if cell == "none" else frozenset(cell.split(", "))
    assert names <= set(CAPABILITIES), cell
    return names


def _kinds(cell: str) -> Counter[Kind]:
    names = [] if cell in ("", "none") else cell.split(", ")
    return Counter(map(_kind, names))


def _kind(name: str) -> Kind:
    if name.endswith("(read-only)"):
        return Kind.READ_ONLY_FILE
    words = re.sub(r"\(.*\)", "", name).split()
    return next((kind for kind in Kind if kind in words), Kind.FILE)
