# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls that connect the command with machines."""

import os
import socket

from virtlayer.client.bus.machines import MachineCalls
from virtlayer.client.bus.values import OptionValue
from virtlayer.dbus.received import close_received
from virtlayer.errors import Internal


class StreamCalls(MachineCalls):
    """The part of a connection that opens streams of machines."""

    async def open_streams(
        self,
        name: str,
        *,
        tail: int | None = None,
        follow: bool = False,
        sends: bool = False,
        kernel: bool = False,
    ) -> socket.socket:
        """Open a socket with the records of a machine, for ``relay``.

        Args:
            name: The machine.
            tail: Begin about so many bytes before the end of the existing output; None for all.
            follow: Whether to go on until the machine ends.
            sends: Whether input is sent.
            kernel: Whether to get the log of the first serial line instead of the output.

        Raises:
            DomainNotFound: There is no such machine.
            InUse: Another program is attached to its input.
            Busy: The user has too many streams.
        """
        options: dict[str, OptionValue] = {} if tail is None else {"tail": tail}
        options |= {"follow": follow, "input": sends, "kernel": kernel}
        reply = await self._manager("OpenStreams", "sa{sv}", name, options=options)
        if len(reply.unix_fds) != 1:
            close_received(reply.unix_fds)
            raise Internal("The reply of virtlayerd has no stream.")
        os.set_inheritable(reply.unix_fds[0], False)
        return socket.socket(fileno=reply.unix_fds[0])
