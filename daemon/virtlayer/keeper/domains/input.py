# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connects to the input port of our init: a Unix socket whose path libvirt has chosen."""

import asyncio
import socket

from virtlayer.errors import DomainFailed
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.domains.devices import INPUT_PORT
from virtlayer.keeper.domains.listing import own_domain
from virtlayer.keeper.domains.relay import SocketLine


async def connect_input(hypervisor: Hypervisor, uuid: str) -> SocketLine:
    """Connect to the input port of a domain of ours.

    Raises:
        DomainNotFound: There is no such domain of ours.
        DomainFailed: It does not run, or does not have our init.
    """
    path = await hypervisor.call(_path, uuid)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, path)
    except OSError as error:
        connection.close()
        raise DomainFailed(
            f"The input of the machine cannot be opened: {error.strerror}. It may have just ended."
        ) from error
    except BaseException:
        connection.close()
        raise
    return SocketLine(connection)


def _path(connection: Connection, uuid: str) -> str:
    own = own_domain(connection, uuid)
    for channel in own.found.root.iterfind("devices/channel"):
        target, source = channel.find("target"), channel.find("source")
        if target is not None and target.get("name") == INPUT_PORT and source is not None:
            path = source.get("path")
            if path and own.domain.isActive():
                return path
    raise DomainFailed(
        f'The machine "{own.domain.name()}" does not run, or its image has an init of its own.'
    )
