# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ``virtlayer`` command: a client of virtlayerd on D-Bus."""

import asyncio
import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence

from virtlayer.client.access import read_password
from virtlayer.client.arguments import build_parser
from virtlayer.client.bus.caller import Client
from virtlayer.client.customizations import read_root_password
from virtlayer.client.exits import Exit, exit_of
from virtlayer.client.output import print_error, print_usage_error, show_any_text
from virtlayer.client.parser import UsageError
from virtlayer.client.remote.link import linked
from virtlayer.errors import HostUnavailable, InvalidArgument, VirtlayerError

_WRONG_TYPES = (
    *(TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError),
)
"""Errors of a command with replies of other types or keys than those of the service."""


def run_command_line(words: Sequence[str]) -> int:
    """Run a command.

    Args:
        words: The arguments of the program.

    Returns:
        The exit status from ``virtlayer.client.exits``.
    """
    show_any_text()
    try:
        arguments = _parsed(words)
    except UsageError as error:
        print_usage_error(error, as_json="--json" in words)
        return error.status
    try:
        _check_host(arguments)
        if arguments.run_locally is not None:
            arguments.run_locally(arguments)
            return Exit.OK
        # Before the event loop runs, because it would keep Ctrl-C from interrupting the prompts.
        arguments.password = read_password(arguments)
        arguments.root_password = read_root_password(arguments)
        status = asyncio.run(_run(arguments))
        sys.stdout.flush()
    except VirtlayerError as error:
        print_error(error, as_json=arguments.json)
        if arguments.failure is None or isinstance(error, HostUnavailable):
            return exit_of(error)
        return int(arguments.failure)
    except KeyboardInterrupt:
        return Exit.CANCELLED
    except BrokenPipeError:
        # The reader of our output has ended; the interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED if arguments.failure is None else int(arguments.failure)
    return status


def _parsed(words: Sequence[str]) -> Namespace:
    parser = build_parser()
    arguments = parser.parse_args(words)
    if arguments.command == "help":
        # Prints the help, and exits.
        return parser.parse_args([*arguments.topic, "--help"])
    return arguments


def _check_host(arguments: Namespace) -> None:
    if arguments.remote_command is not None and arguments.host is None:
        raise InvalidArgument("--remote-command requires --host.")


async def _run(arguments: Namespace) -> int:
    async with _connected(arguments) as client:
        try:
            return int(await arguments.run(client, arguments) or Exit.OK)
        except _WRONG_TYPES as error:
            if arguments.host is None:
                raise
            raise HostUnavailable(
                f"virtlayerd on {arguments.host.host} sent an invalid reply. Install the same "
                "version on both hosts."
            ) from error


@contextlib.asynccontextmanager
async def _connected(arguments: Namespace) -> AsyncIterator[Client]:
    session, host = arguments.session, arguments.host
    if host is None:
        async with Client.connected(session=session) as client:
            yield client
        return
    async with (
        linked(host, arguments.remote_command, session=session) as link,
        Client.connected_by(link.bus, link.host, session=session) as client,
    ):
        yield client
