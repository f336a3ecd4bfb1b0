# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims: which volumes of a pool the running jobs of all hosts need, and which layers they build.

In the table of the pool, a claim is a value for each set of names that were added, and one for each
layer that it builds. They last until the claim ends, and no longer than the lease of its process.
"""

import contextlib
import itertools
import threading
from collections.abc import Collection, Iterable

from virtlayer.errors import Internal, VirtlayerError
from virtlayer.rbd import keys
from virtlayer.rbd.table import Conditions
from virtlayer.rbd.takeover import Takeover
from virtlayer.rbd.waiting import change_when_free

NAMES_LIMIT = 16_384
"""Volumes of one claim."""
BUILDS_LIMIT = 1024
"""Layers that one claim builds at a time."""


class Claim:
    """A claim of one job; ``make`` makes it. The methods block, and may be called in any thread.

    Args:
        takeover: Ends what dead processes had.
    """

    def __init__(self, takeover: Takeover) -> None:
        self.name = keys.new_id()
        """A name that no other claim on any host has."""
        self._takeover = takeover
        self.lease = takeover.lease
        self._numbers = itertools.count(1)
        self._names: set[str] = set()
        self._entries: set[str] = set()
        self._building: set[str] = set()
        self._using = threading.Lock()
        self._has_ended = False

    def make(self, names: Iterable[str]) -> None:
        """Make the claim, on volumes; ``end`` removes what an interrupted attempt has left.

        Raises:
            PoolLocked: Another process has the pool's lock for longer than one request waits.
            Internal: There are too many names.
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        with self._using:
            self.lease.hold()
            self.check()
            # Even without names: unfinished images without a claim are swept.
            self._write(set(names))

    @property
    def owner(self) -> bytes:
        """What says in the table that this claim has something."""
        return f"{self.lease.process} {self.name}".encode()

    def add(self, names: Iterable[str]) -> None:
        """Add volumes, which may not exist yet.

        Raises:
            PoolLocked: Another process has the pool's lock for longer than one request waits.
            Internal: There are too many.
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        with self._using:
            self.check()
            new = set(names) - self._names
            if new:
                self._write(new)

    def try_build(self, builds: Iterable[str]) -> frozenset[str]:
        """Take the right to build layers, without waiting.

        Args:
            builds: The keys of the layers: 64 hexadecimal digits each.

        Returns:
            Those that another claim builds, on this host or another one.

        Raises:
            Internal: The claim builds too many.
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        with self._using:
            self.check()
            wanted = {keys.BUILDS + build for build in builds} - self._building
            if len(wanted) + len(self._building) > BUILDS_LIMIT:
                raise Internal(f"A claim builds at most {BUILDS_LIMIT} layers.")
            busy = self._take(wanted)
            self._building |= wanted - busy
            return frozenset(key.removeprefix(keys.BUILDS) for key in busy)

    def end_build(self, build: str) -> None:
        """Give up the right to build a layer, which is in the pool.

        Raises:
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        with self._using:
            self._give_up({keys.BUILDS + build} & self._building)

    def end_builds(self) -> None:
        """Give up all rights to build layers; with the process, if the cluster does not answer."""
        with self._using, contextlib.suppress(VirtlayerError):
            self._give_up(set(self._building))

    def change(
        self, expected: Conditions, new: Conditions, *, free: Collection[str] = (keys.LOCK,)
    ) -> bool:
        """Change the table of the pool when no process has its lock; see ``change_when_free``.

        Args:
            expected: The values that there must be.
            new: The new values; None to delete one.
            free: The keys that no process may have, the lock among them.

        Raises:
            PoolLocked: Another process has one of them for longer than one request waits.
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        self.check()
        return change_when_free(self._takeover, free, expected, new)

    def check(self) -> None:
        """Check that the claim lasts.

        Raises:
            Internal: It has ended.
            PoolUnavailable: This process has lost its lease.
        """
        if self._has_ended:
            raise Internal("The claim has ended.")
        self.lease.check()

    def end(self) -> None:
        """End the claim and what it builds; with the process, if the cluster does not answer."""
        with self._using, contextlib.suppress(VirtlayerError):
            if not self._has_ended:
                self._has_ended = True
                self._give_up(self._entries | self._building)

    def _write(self, new: set[str]) -> None:
        if len(new) + len(self._names) > NAMES_LIMIT:
            raise Internal(f"A claim has at most {NAMES_LIMIT} volumes.")
        key = f"{keys.claims_of(self.lease.process)}{self.name} {next(self._numbers)}"
        value = "".join(f"{name}\n" for name in sorted(new)) or "\n"
        change_when_free(self._takeover, [keys.LOCK], {}, {key: value.encode()})
        self._entries.add(key)
        self._names |= new

    def _take(self, wanted: set[str]) -> set[str]:
        """Take what no other claim has; return what others have."""
        table = self.lease.table
        alive: set[str] = set()
        while True:
            busy = table.get(wanted)
            holders = {holder for value in busy.values() if (holder := keys.holder_of(value))}
            if any(self._takeover.end_if_dead(holder) for holder in sorted(holders - alive)):
                continue
            alive |= holders
            free = wanted - busy.keys()
            if not free or self.lease.change(dict.fromkeys(free), dict.fromkeys(free, self.owner)):
                return wanted - free

    def _give_up(self, had: set[str]) -> None:
        if had:
            self.lease.change({}, dict.fromkeys(had))
            self._building -= had
