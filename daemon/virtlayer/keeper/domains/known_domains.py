# SPDX-License-Identifier: LGPL-2.1-or-later
"""Remembers the domains of ours, so that a change of one is not a reason to read all of them.

libvirt reports every change of a state. It does not report every other change, such as a new disk:
a list that must have these is read anew.
"""

import contextlib
from collections.abc import Iterator

from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.domains.listing import read_domains
from virtlayer.protocol.domains import KnownDomain


class KnownDomains:
    """The domains of ours as they were read last, by driver and UUID."""

    def __init__(self) -> None:
        self._read: dict[str, dict[str, KnownDomain | None]] = {}
        self._meanwhile: list[set[str | None]] = []
        """For each list that is being read, what has changed meanwhile."""

    async def list(self, driver: Hypervisor, *, anew: bool) -> list[KnownDomain]:
        """List the domains of a driver.

        Args:
            driver: The driver.
            anew: Whether all of them are read, and not only those that have changed.

        Raises:
            VirtlayerError: libvirt cannot be asked.
        """
        known = {} if anew else self._read.get(driver.uri, {})
        with self._changes() as changed:
            read = await driver.call(read_domains, dict(known))
        if None in changed:
            self._read.pop(driver.uri, None)
        else:
            kept = {uuid: one for uuid, one in read.items() if uuid not in changed}
            self._read[driver.uri] = kept
        return [one for one in read.values() if one is not None]

    def changed(self, uuid: str | None) -> None:
        """Note that a domain has changed; None for any, because the connection was lost."""
        for changed in self._meanwhile:
            changed.add(uuid)
        if uuid is None:
            self._read.clear()
            return
        for known in self._read.values():
            known.pop(uuid, None)

    @contextlib.contextmanager
    def _changes(self) -> Iterator[set[str | None]]:
        changed: set[str | None] = set()
        self._meanwhile.append(changed)
        try:
            yield changed
        finally:
            # By identity: sets with the same elements are equal.
            self._meanwhile = [one for one in self._meanwhile if one is not changed]
