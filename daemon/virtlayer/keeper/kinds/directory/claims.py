# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims: which volumes of a pool the running jobs of all hosts count on.

A claim is a file of ``.virtlayer/claims`` that is locked for the life of its job and names volumes,
one a line. It is made, and gets further names, under the pool's lock: whoever has that lock knows
all of them. One that is not locked is of a job that no longer runs.

A claim also has the right to build layers, one job on all hosts each: for every layer a byte of
``.virtlayer/lock``, by its key. These end with the process that builds, the claim itself lives as
long as the service has a copy of its descriptor.
"""

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterable

from virtlayer.errors import Internal, InUse, PoolUnsupported
from virtlayer.keeper.beneath import NotRegular, OwnedDescriptor, open_beneath, open_regular, opened
from virtlayer.keeper.calls import ask_server
from virtlayer.keeper.kinds.directory.locks import is_locked, try_lock, unlock
from virtlayer.keeper.kinds.directory.own_directory import CLAIMS, OwnDirectory
from virtlayer.protocol.pools import Pool
from virtlayer.sizes import MIB

NAMES_LIMIT = 16_384
"""Volumes of one claim."""
BUILDS_LIMIT = 1024
"""Layers that one claim builds at a time."""
_CLAIM_LIMIT = 8 * MIB
"""Bytes: more than that many names."""
_KEY_BITS = 62
"""Of a key: the number of a byte that can be locked is less than 2**63 - 1, and byte 0 is taken."""


class Claim:
    """A claim of one job.

    Args:
        pool: The pool.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.name = secrets.token_hex(16)
        """What no other claim on any host is called."""
        self._numbers = itertools.count(1)
        self._names: set[str] = set()
        self._building: set[int] = set()
        self._file: OwnedDescriptor | None = None
        self._own: OwnDirectory | None = None
        self._lock_file: OwnedDescriptor | None = None

    @property
    def file(self) -> OwnedDescriptor:
        """The descriptor whose copies keep the claim."""
        return _made(self._file)

    @property
    def own(self) -> OwnDirectory:
        """``.virtlayer`` of the pool."""
        return _made(self._own)

    def make(self, own: OwnDirectory, names: Iterable[str]) -> None:
        """Make the claim; the caller has the pool's lock.

        Args:
            own: ``.virtlayer`` of the pool.
            names: The volumes.

        Raises:
            Internal: There are too many names.
            OSError: It cannot be written.
        """
        self._own = own.kept()
        with opened(own.open_part(CLAIMS)) as directory:
            new = os.O_RDWR | os.O_CREAT | os.O_EXCL
            self._file = OwnedDescriptor(open_beneath(directory, self.name, new, 0o600))
        if not try_lock(self._file):
            raise Internal(f"Another process has locked the new claim {self.name}.")
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Add volumes; the caller has the pool's lock.

        Raises:
            Internal: There are too many.
            OSError: They cannot be written.
        """
        new = set(names) - self._names
        if len(new) + len(self._names) > NAMES_LIMIT:
            raise Internal(f"A claim has at most {NAMES_LIMIT} volumes.")
        text = "".join(f"{name}\n" for name in sorted(new)).encode()
        end = os.fstat(self.file).st_size
        try:
            while text:
                written = os.pwrite(self.file, text, os.fstat(self.file).st_size)
                text = text[written:]
        except OSError:
            os.ftruncate(self.file, end)
            raise
        self._names |= new

    def staging_name(self) -> str:
        """The name of a new staging directory of the claim."""
        return f"{self.name}-{next(self._numbers)}"

    def lacks(self, names: Iterable[str]) -> bool:
        """Whether some of these volumes are not in it."""
        return not self._names.issuperset(names)

    def try_build(self, keys: Iterable[str]) -> frozenset[str]:
        """Take the right to build layers; nobody is waited for.

        Args:
            keys: Of the layers: 64 hexadecimal digits each.

        Returns:
            Those that another claim builds.

        Raises:
            Internal: They are too many.
            OSError: Nothing can be locked there.
        """
        wanted = {key: _byte(key) for key in keys}
        if len(self._building.union(wanted.values())) > BUILDS_LIMIT:
            raise Internal(f"A claim builds at most {BUILDS_LIMIT} layers.")
        if self._lock_file is None:
            self._lock_file = OwnedDescriptor(self.own.open_lock_file())
        taken = {key for key, byte in wanted.items() if try_lock(self._lock_file, byte, 1)}
        self._building.update(wanted[key] for key in taken)
        return frozenset(wanted.keys() - taken)

    def end_build(self, key: str) -> None:
        """Give up the right to build a layer, which is in the pool."""
        byte = _byte(key)
        lock_file = self._lock_file
        if lock_file is not None and byte in self._building:
            self._building.discard(byte)
            unlock(lock_file, byte, 1)

    def end(self) -> None:
        """End the claim and what it builds; nothing happens if it was never made."""
        if self._own is not None and self._file is not None:
            # What cannot be removed is not locked, and a sweep finds it.
            with (
                contextlib.suppress(OSError, PoolUnsupported),
                opened(self._own.open_part(CLAIMS)) as directory,
            ):
                os.unlink(self.name, dir_fd=directory)
        for descriptor in (self._file, self._lock_file):
            if descriptor is not None:
                # Not closed: another thread may be using it, and nobody else refers to it.
                unlock(descriptor)
        self._file = self._lock_file = self._own = None


def live_claims(own: OwnDirectory) -> dict[str, frozenset[str]]:
    """The volumes that all running jobs count on, by claim; the caller has the pool's lock.

    Args:
        own: ``.virtlayer`` of the pool.

    Raises:
        InUse: What a job counts on cannot be read.
        OSError: The claims cannot be listed.
    """
    claims: dict[str, frozenset[str]] = {}
    with opened(own.open_part(CLAIMS)) as directory:
        ask_server(directory)
        with os.scandir(directory) as entries:
            found = [entry.name for entry in entries]
        for name in found:
            try:
                claims[name] = frozenset(_names_in(directory, name))
            except (OSError, ValueError) as error:
                raise InUse(
                    f"Nothing was removed: cannot determine which volumes of the pool "
                    f'"{own.pool.name}" a job is using, because its claim '
                    f"{own.path / CLAIMS / name} is unreadable: {error}. "
                    "Try again when all jobs have ended; then, delete that file."
                ) from error
    return claims


def _names_in(directory: int, name: str) -> list[str]:
    """What a claim names; nothing if its job no longer runs, or if it is something else."""
    try:
        file = open_regular(directory, name)
    except (FileNotFoundError, NotRegular):
        return []
    with opened(file):
        if not is_locked(file):
            return []
        content = b""
        while part := os.pread(file, _CLAIM_LIMIT + 1 - len(content), len(content)):
            content += part
    if len(content) > _CLAIM_LIMIT:
        raise ValueError("it is too long")
    # A name without an end is one of which the job does not know that it has it.
    return content.decode().split("\n")[:-1]


def _byte(key: str) -> int:
    return 1 + (int(key, 16) >> (256 - _KEY_BITS))


def _made[T](part: T | None) -> T:
    if part is None:
        raise Internal("The claim was not made.")
    return part
