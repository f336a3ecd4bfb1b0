# SPDX-License-Identifier: LGPL-2.1-or-later
"""The members of ``org.virtlayer1.Manager`` about the output and input of machines."""

from collections.abc import Mapping

from dbus_next.signature import Variant

from virtlayer.protocol.names import parse_domain_name
from virtlayer.service.bus.authority import Action
from virtlayer.service.bus.call import Call, ReplyDescriptor
from virtlayer.service.bus.details import details_of
from virtlayer.service.bus.machines import Machines
from virtlayer.service.bus.members import method
from virtlayer.service.bus.options.parsing import parse_options
from virtlayer.service.bus.options.streams import OpenStreamsOptions
from virtlayer.service.operations.machines.domain_lookup import domain_of


class MachineStreams(Machines):
    """The part of the root object that connects callers with machines."""

    @method("OpenStreams", takes={"name": "s", "options": "a{sv}"}, gives={"stream": "h"})
    async def open_streams(
        self, call: Call, name: str, options: Mapping[str, Variant]
    ) -> ReplyDescriptor:
        """Open a socket with the output of a machine, and for its input."""
        given = parse_options(OpenStreamsOptions, options, call)
        request = given.request
        domain = parse_domain_name(name)
        await self._authority.authorize(call, Action.CONSOLE, details_of(given, name=name))
        machine = await domain_of(self._services, domain)
        uid = await self._authority.uid(call)
        stream = await self._services.streams.open(machine, request, uid)
        return ReplyDescriptor(stream.detach())

    @method("OpenConsole", takes={"name": "s"}, gives={"terminal": "h"})
    async def open_console(self, call: Call, name: str) -> ReplyDescriptor:
        """Open a pseudoterminal that is connected with a machine."""
        domain = parse_domain_name(name)
        await self._authority.authorize(call, Action.CONSOLE, {"name": name})
        machine = await domain_of(self._services, domain)
        uid = await self._authority.uid(call)
        return ReplyDescriptor(await self._services.streams.open_terminal(machine, uid))
