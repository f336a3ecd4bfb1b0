# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connects a command with the bus of another host."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from virtlayer.cancellation import meanwhile
from virtlayer.client.remote.channel import Channel
from virtlayer.client.remote.command import CommandRelay
from virtlayer.client.remote.destination import Destination
from virtlayer.client.remote.frames import GREETING, FrameKind, ProtocolError
from virtlayer.client.remote.host import OtherHost
from virtlayer.client.remote.ssh import Ssh, running_ssh
from virtlayer.errors import HostUnavailable, ServiceUnavailable, VirtlayerError

_NOT_EXECUTABLE, _NOT_FOUND, _SSH_FAILED = 126, 127, 255
"""Exit statuses of a shell, and of ssh."""


@dataclass(frozen=True, slots=True)
class Link:
    """A connection to another host.

    Attributes:
        bus: A socket to its bus, which needs no authentication.
        host: The host.
    """

    bus: socket.socket
    host: OtherHost


@contextlib.asynccontextmanager
async def linked(
    host: Destination, program: Sequence[str] | None, *, session: bool
) -> AsyncIterator[Link]:
    """Connect with a host for as long as the context lasts.

    Whatever error a lost connection causes in the context, it is reported as what it is.

    Args:
        host: The host.
        program: virtlayer there: a program and arguments; None for the one in PATH.
        session: The session bus of the user there instead of the system bus.

    Raises:
        HostUnavailable: There is no connection, or it was lost.
        ServiceUnavailable: There is no such bus.
    """
    async with running_ssh(host.ssh_command(program, session=session)) as ssh:
        channel = Channel(ssh.descriptor, ssh.descriptor)
        with _quit_ends(ssh):
            await _wait_until_ready(channel, ssh, host)
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        relay = CommandRelay(channel, theirs)
        with ours:
            async with meanwhile(relay.run()) as relaying:
                try:
                    yield Link(ours, OtherHost(host.host, relay.ask))
                    async with meanwhile(relay.all_delivered()) as delivered:
                        both = [relaying, delivered]
                        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                except Exception as error:  # whatever failed first, the connection is the cause
                    if relay.is_over:
                        raise await _lost(relaying, ssh, host) from error
                    raise
                if relay.is_over:
                    raise await _lost(relaying, ssh, host)


@contextlib.contextmanager
def _quit_ends(ssh: Ssh) -> Iterator[None]:
    r"""End ssh by Ctrl-\ as well, which it does not get, while it may ask for a password."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGQUIT, ssh.terminate)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGQUIT)


async def _wait_until_ready(channel: Channel, ssh: Ssh, host: Destination) -> None:
    # The reason of an early end is known where its end is read.
    with contextlib.suppress(OSError):
        await channel.greet()
    greeting = await channel.greeted()
    if greeting != GREETING:
        raise await _not_connected(greeting, ssh, host)
    try:
        frame = await channel.receive()
    except (EOFError, OSError, ProtocolError) as error:
        raise await _ended(error, ssh, host) from error
    if frame.kind is FrameKind.NO_BUS:
        raise ServiceUnavailable(
            f"{host.host}: {frame.content.decode(errors='replace')} Check whether D-Bus runs "
            "there. For your own service there, which needs your session bus, use --user."
        )
    if frame.kind is not FrameKind.READY:
        raise await _ended(ProtocolError("it is not ready"), ssh, host)


async def _not_connected(greeting: bytes, ssh: Ssh, host: Destination) -> VirtlayerError:
    if greeting.startswith(GREETING[:-3]):
        return HostUnavailable(
            f"virtlayer on {host.host} has another version of the protocol of --host. Install the "
            "same version on both hosts."
        )
    if greeting:
        return HostUnavailable(
            f'{host.host} sent "{greeting.decode(errors="replace")}" in place of the greeting of '
            "virtlayer. The startup files of the shell there must not print anything if there is "
            "no terminal."
        )
    status = await ssh.status()
    if status == _NOT_FOUND:
        return HostUnavailable(
            f"virtlayer is not installed on {host.host}, or not in the PATH of its shell. If it is "
            "elsewhere, name it: --remote-command=/path/to/virtlayer."
        )
    if status == _NOT_EXECUTABLE:
        return HostUnavailable(f"virtlayer on {host.host} cannot be executed.")
    if status == _SSH_FAILED:
        return HostUnavailable(
            f'Cannot connect to {host.host}: ssh failed. Try "{host.ssh_login}" by itself.'
        )
    return await _ended(EOFError(), ssh, host)


async def _lost(relaying: asyncio.Task[None], ssh: Ssh, host: Destination) -> VirtlayerError:
    """Return the error for a relay that is over."""
    await asyncio.wait([relaying])
    return await _ended(relaying.exception(), ssh, host)


async def _ended(cause: BaseException | None, ssh: Ssh, host: Destination) -> VirtlayerError:
    """Return the error for the end of a connection."""
    if isinstance(cause, ProtocolError):
        ssh.terminate()
        return HostUnavailable(
            f"virtlayer on {host.host} sent invalid data: {cause}. Install the same version on "
            "both hosts."
        )
    status = await ssh.status()
    if status == _SSH_FAILED or status < 0:
        return HostUnavailable(
            f"The connection to {host.host} was lost. A job that was started there may continue: "
            'see "virtlayer jobs".'
        )
    return HostUnavailable(
        f"virtlayer --bridge on {host.host} ended unexpectedly, with exit status {status}."
    )
