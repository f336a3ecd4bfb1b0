# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts a new machine and stays with its program until that ends, or the user leaves."""

import contextlib
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Mapping
from typing import Any

from virtlayer.cancellation import meanwhile, to_completion
from virtlayer.client.bus.caller import Client
from virtlayer.client.output import print_warning
from virtlayer.client.terminal.ending import Ending
from virtlayer.client.terminal.printer import LocalStreams
from virtlayer.client.terminal.relay import relay
from virtlayer.client.waiting import started
from virtlayer.errors import DomainFailed, DomainNotFound, VirtlayerError

_STDIN = 0


async def attached(client: Client, arguments: Namespace, machine: Mapping[str, Any]) -> int:
    """Start a machine, and connect it with the user's descriptors.

    Args:
        client: The connection.
        arguments: Those of ``virtlayer run``.
        machine: The document of the machine, which has not been started.

    Returns:
        The exit status of its program.

    Raises:
        DomainFailed: The machine ended without one.
        VirtlayerError: It cannot be started. It is removed then.
        BrokenPipeError: The reader of standard output has ended; the machine continues.
    """
    name = machine["name"]
    if arguments.tty and arguments.interactive and not sys.stdin.isatty():
        # As podman, whose message this is. docker refuses it.
        print_warning(
            "The input device is not a TTY. The --tty and --interactive flags might not work "
            "properly."
        )
    async with _removed_on_failure(client, name):
        ending = await _ending(client, arguments, machine)
    if ending.is_detached:
        if sys.stderr.isatty():
            print(f'The machine continues; "virtlayer console {name}" returns.', file=sys.stderr)
        return ending.status
    if ending.message:
        raise DomainFailed(ending.message)
    return ending.status


async def _ending(client: Client, arguments: Namespace, machine: Mapping[str, Any]) -> Ending:
    name = machine["name"]
    has_streams = (await client.describe_domain(name)).streams
    stream = await client.open_streams(name, follow=True, sends=True)
    local = LocalStreams(stdin=_STDIN if arguments.interactive else None)
    relaying = relay(
        stream,
        local,
        has_terminal=arguments.tty or not has_streams,
        has_own_init=not has_streams,
    )
    async with meanwhile(relaying) as connected:
        try:
            job = await started(client, client.start("StartDomain", "sa{sv}", name))
            (await client.wait(job, lambda _progress: None)).raise_for_failure()
        except VirtlayerError:
            # A program that cannot be executed has an exit status, and so has a quick one.
            if not (connected.done() and not connected.result().message):
                raise
        return await connected


@contextlib.asynccontextmanager
async def _removed_on_failure(client: Client, name: str) -> AsyncIterator[None]:
    """Remove the machine if it cannot be started: nothing is left of a command that failed."""
    try:
        yield
    except BrokenPipeError:
        raise
    except BaseException:
        try:
            await to_completion(_remove(client, name))
        except VirtlayerError as error:
            print_warning(f"The machine {name} cannot be removed: {error.message}")
        raise


async def _remove(client: Client, name: str) -> None:
    """Remove the machine, which the service may have removed already."""
    with contextlib.suppress(DomainNotFound):
        job = await client.start("RemoveDomain", "sa{sv}", name, options={"force": True})
        (await client.wait(job, lambda _progress: None)).raise_for_failure()
