# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ``virtlayer`` command: a client of virtlayerd on D-Bus, and nothing more."""

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from virtlayer.client.access import read_password
from virtlayer.client.arguments import build_parser
from virtlayer.client.bus.caller import Client
from virtlayer.client.commands import COMMANDS
from virtlayer.client.exits import Exit, exit_of
from virtlayer.client.output import print_error
from virtlayer.client.volumes import read_root_password
from virtlayer.errors import VirtlayerError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status, of ``virtlayer.client.exits``.
    """
    arguments = build_parser().parse_args(argv)
    try:
        # Before the event loop runs, which would keep Ctrl-C from interrupting the questions.
        arguments.password = read_password(arguments)
        arguments.root_password = read_root_password(arguments)
        asyncio.run(_run(arguments))
        sys.stdout.flush()
    except VirtlayerError as error:
        print_error(error, as_json=arguments.json)
        return exit_of(error)
    except KeyboardInterrupt:
        return Exit.CANCELLED
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    return Exit.OK


async def _run(arguments: Namespace) -> None:
    async with Client.connected(session=arguments.session) as client:
        await COMMANDS[arguments.command](client, arguments)
