# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands that read the output of machines, and type."""

import sys
from argparse import Namespace

from virtlayer.client.bus.caller import Client
from virtlayer.client.common_arguments import add_command
from virtlayer.client.parser import Commands
from virtlayer.client.terminal.logs import print_logs
from virtlayer.client.terminal.printer import LocalStreams
from virtlayer.client.terminal.relay import relay
from virtlayer.client.values import line_count
from virtlayer.errors import DomainFailed, InvalidArgument
from virtlayer.sizes import MIB

_TAIL = MIB


def add_console(commands: Commands) -> None:
    """Add ``virtlayer console``."""
    command = add_command(
        commands,
        "console",
        "connect the terminal with a machine",
        console,
        details="Ctrl-] leaves, and the machine continues. It is the terminal of the program of a "
        "machine that was made with --tty, otherwise the program's input and output; of an image "
        "with its own init, the first serial line.",
    )
    command.add_argument("name", metavar="NAME", help='its name, from "virtlayer ps"')


async def console(client: Client, arguments: Namespace) -> None:
    """``virtlayer console``."""
    if not sys.stdin.isatty():
        raise InvalidArgument(
            "The standard input is not a terminal. Run the command in a terminal, or use "
            '"virtlayer logs" to read the output of the machine.'
        )
    stream = await client.open_streams(arguments.name, tail=0, follow=True, sends=True)
    print(f"Connected to {arguments.name}. Press Ctrl-] to leave.", file=sys.stderr)
    local = LocalStreams(stdin=sys.stdin.fileno())
    ending = await relay(stream, local, has_terminal=True, has_own_init=True)
    # The machine may have left the cursor within a line.
    print(file=sys.stderr)
    if ending.message:
        raise DomainFailed(ending.message)
    print(f"The machine {'continues' if ending.is_detached else 'has stopped'}.", file=sys.stderr)


def add_logs(commands: Commands) -> None:
    """Add ``virtlayer logs``."""
    command = add_command(
        commands,
        "logs",
        "print the output of a machine",
        logs,
        details="By default, about the last MiB. Output is kept until the machine is removed; of "
        "a machine that writes much, the last 6 to 8 MiB. It is printed as it is, also what a "
        "terminal interprets, and never as JSON.",
    )
    command.add_argument("name", metavar="NAME", help='its name, from "virtlayer ps"')
    amount = command.add_mutually_exclusive_group()
    amount.add_argument("--all", action="store_true", help="print everything that was kept")
    amount.add_argument("--tail", metavar="N", type=line_count, help="print only the last N lines")
    command.add_argument(
        "-f", "--follow", action="store_true", help="print new output, until the machine ends"
    )
    command.add_argument(
        "--kernel",
        action="store_true",
        help="print what was written to the first serial line, such as the messages of the kernel",
    )


async def logs(client: Client, arguments: Namespace) -> None:
    """``virtlayer logs``."""
    is_whole = arguments.all or arguments.tail is not None
    stream = await client.open_streams(
        arguments.name,
        tail=None if is_whole else _TAIL,
        follow=arguments.follow,
        kernel=arguments.kernel,
    )
    await print_logs(
        stream, LocalStreams(stdin=None), lines=arguments.tail, follow=arguments.follow
    )
