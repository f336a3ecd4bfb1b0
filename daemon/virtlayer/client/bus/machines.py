# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls about machines."""

import asyncio

from dbus_next.message import Message

from virtlayer.cancellation import meanwhile
from virtlayer.client.bus.answers import DomainDetails, DomainSummary
from virtlayer.client.bus.calls import Calls
from virtlayer.client.bus.values import plain_dict
from virtlayer.dbus import names
from virtlayer.errors import DomainNotFound, ServiceUnavailable


class MachineCalls(Calls):
    """The part of a connection that is about machines."""

    async def list_domains(self) -> list[DomainSummary]:
        """The machines that virtlayer has made, by name."""
        reply = await self._manager("ListDomains", "")
        return sorted((DomainSummary(*row) for row in reply.body[0]), key=lambda one: one.name)

    async def describe_domain(self, name: str) -> DomainDetails:
        """Return the properties of a machine.

        Raises:
            DomainNotFound: There is no such machine.
        """
        reply = await self._manager("DescribeDomain", "s", name)
        return DomainDetails.parse(plain_dict(reply.body[0]))

    async def domains(self) -> list[DomainDetails]:
        """The properties of all machines, by name; without those that were removed meanwhile."""
        turns = asyncio.Semaphore(self.calls_at_once)

        async def ask(name: str) -> DomainDetails | None:
            async with turns:
                try:
                    return await self.describe_domain(name)
                except DomainNotFound:
                    return None

        found = await asyncio.gather(*(ask(one.name) for one in await self.list_domains()))
        return [one for one in found if one is not None]

    async def stopped_domain(self, name: str) -> DomainDetails:
        """Wait until a machine does not run; return its properties then.

        Raises:
            DomainNotFound: There is no such machine, or it was removed when it stopped.
            ServiceUnavailable: The connection to the bus ended.
        """
        changed = asyncio.Event()

        def note(_signal: Message) -> None:
            changed.set()

        self._bus.on_signal = note
        await self._receive(names.DOMAIN_RULE)
        # A service that has exited because it was idle sends no signals; the next call starts it.
        await self._receive(names.OWNER_RULE)
        async with meanwhile(self._bus.ended()) as lost:
            while True:
                changed.clear()
                found = await self.describe_domain(name)
                if found.has_ended:
                    return found
                async with meanwhile(changed.wait()) as waiting:
                    await asyncio.wait([waiting, lost], return_when=asyncio.FIRST_COMPLETED)
                if lost.done():
                    raise ServiceUnavailable("The connection to the bus was lost.")
