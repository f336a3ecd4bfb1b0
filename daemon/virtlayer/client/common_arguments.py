# SPDX-License-Identifier: LGPL-2.1-or-later
"""Arguments that several commands have."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path

from virtlayer.client.bus.caller import Client
from virtlayer.client.parser import Commands, Parser
from virtlayer.client.remote.destination import destination, program_there
from virtlayer.client.values import boolean

type Run = Callable[[Client, Namespace], Awaitable[int | None]]
"""Runs a command; returns its exit status if that is not 0."""


def add_command(
    commands: Commands,
    name: str,
    summary: str,
    run: Run | None,
    *,
    details: str = "",
    aliases: tuple[str, ...] = (),
    keys: tuple[str, ...] = (),
) -> Parser:
    """Add a command.

    Args:
        commands: The commands to add it to.
        name: Its name.
        summary: Its description: a phrase without a capital and a period.
        run: Runs it; None if it only has subcommands.
        details: Further sentences for its own help.
        aliases: Other names.
        keys: The keys of its JSON document, for the manual page.
    """
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {details}".rstrip(),
        aliases=aliases,
    )
    if run is not None:
        command.set_defaults(run=run)
    command.keys = keys
    add_everywhere(command, defaults=False)
    return command


def add_everywhere(parser: ArgumentParser, *, defaults: bool) -> None:
    """Add the options that may stand before and after the command, like systemctl's."""
    bus = parser.add_mutually_exclusive_group()
    default = False if defaults else argparse.SUPPRESS
    bus.add_argument(
        "--system",
        dest="session",
        action="store_false",
        default=default,
        help="use the system service (default)",
    )
    bus.add_argument(
        "--user",
        dest="session",
        action="store_true",
        default=default,
        help="use the calling user's own service, on the session bus, with qemu:///session (for "
        "root, that is the libvirtd of the system)",
    )
    absent = None if defaults else argparse.SUPPRESS
    parser.add_argument(
        "-H",
        "--host",
        type=destination,
        default=absent,
        metavar="[USER@]HOST[:PORT]",
        help="run the command on another host, through ssh; files, passwords and terminals are "
        "those of this host",
    )
    parser.add_argument(
        "--remote-command",
        type=program_there,
        default=absent,
        metavar="PROGRAM",
        help="with --host: the program virtlayer there, if it is not in PATH; it may have "
        "arguments, as in 'sudo virtlayer'",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=default,
        help="print JSON, on standard output and standard error",
    )


def add_pool(command: ArgumentParser) -> None:
    """Add the pool, which is called ``default`` by default."""
    command.add_argument(
        "pool", metavar="POOL", nargs="?", default="default", help="(default: default)"
    )


def add_image(command: ArgumentParser) -> None:
    """Add the name of an image."""
    command.add_argument("image", metavar="IMAGE", help='its name, from "virtlayer images"')


def add_access(parser: ArgumentParser) -> None:
    """Add the arguments for the access to a source."""
    group = parser.add_argument_group("access to the source")
    group.add_argument("--platform", metavar="OS/ARCH[/VARIANT]", help="(default: this host's)")
    credentials = group.add_mutually_exclusive_group()
    credentials.add_argument("--username", help="prompts for the password, see --password-stdin")
    credentials.add_argument(
        "--creds",
        metavar="USER[:PASSWORD]",
        help="as podman's; without a password, prompts for it. Other users can see the password in "
        "the list of processes",
    )
    group.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )
    group.add_argument(
        "--authfile",
        type=Path,
        help='credentials that "virtlayer login" or "skopeo login" wrote (default: your own file)',
    )
    group.add_argument(
        "--tls-verify",
        type=boolean,
        default=True,
        metavar="true|false",
        help="verify the registry's TLS certificate (default: true)",
    )
    group.add_argument(
        "--no-tls-verify", dest="tls_verify", action="store_false", help="the same as false"
    )
    group.add_argument(
        "--cert-dir", type=Path, help="directory with certificates for this registry"
    )
