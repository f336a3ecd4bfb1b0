# SPDX-License-Identifier: LGPL-2.1-or-later
"""The customization of a writable volume: arguments of create-volume and pull."""

import argparse
import contextlib
import getpass
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from virtlayer.client.bus.values import OptionValue
from virtlayer.client.memory import content_descriptor
from virtlayer.client.unreadable import unreadable
from virtlayer.errors import InvalidArgument

type IdRange = tuple[int, int, int]

_ID_RANGE = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})", re.ASCII)


def add_customizations(parser: ArgumentParser) -> None:
    """Add the arguments that customize a writable volume."""
    group = parser.add_argument_group("volume customization")
    group.add_argument(
        "--grow", action="store_true", help="make the file system as large as the volume"
    )
    group.add_argument(
        "--root-password",
        dest="ask_root_password",
        action="store_true",
        help="set root's password (prompts)",
    )
    group.add_argument(
        "--root-password-stdin", action="store_true", help="read it from standard input"
    )
    group.add_argument(
        "--ssh-key",
        dest="ssh_keys",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="public keys that may log in as root; can be repeated",
    )
    group.add_argument("--hostname", help="the machine's name")
    for option, what in (("--uid-map", "users"), ("--gid-map", "groups")):
        group.add_argument(
            option,
            action="append",
            type=_id_range,
            default=[],
            metavar="START:TARGET:COUNT",
            help=f"map the IDs of {what}; can be repeated",
        )
    group.add_argument(
        "--keep-identity",
        action="store_true",
        help="keep the machine ID and the ssh host keys of the image",
    )


def read_root_password(arguments: Namespace) -> str | None:
    """Return the password for root; None if root gets none.

    Raises:
        InvalidArgument: There is no way to get one.
    """
    if arguments.root_password_stdin:
        if arguments.password_stdin:
            raise InvalidArgument(
                "Use --password-stdin or --root-password-stdin, not both: standard input has one "
                "password."
            )
        return sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not arguments.ask_root_password:
        return None
    if not sys.stdin.isatty():
        raise InvalidArgument(
            "Cannot ask for root's password without a terminal. Use --root-password-stdin."
        )
    password = getpass.getpass("Password for root: ")
    if getpass.getpass("Again: ") != password:
        raise InvalidArgument("Passwords do not match.")
    return password


@contextlib.contextmanager
def customization_options(arguments: Namespace) -> Iterator[dict[str, OptionValue]]:
    """Yield the options for the arguments; a password's descriptor is open in the context.

    Raises:
        InvalidArgument: A file with keys cannot be read.
    """
    options: dict[str, OptionValue] = {}
    if arguments.grow:
        options["grow-filesystem"] = True
    if keys := [key for path in arguments.ssh_keys for key in _keys(path)]:
        options["ssh-authorized-keys"] = keys
    if arguments.hostname is not None:
        options["hostname"] = arguments.hostname
    if arguments.uid_map:
        options["uid-map"] = arguments.uid_map
    if arguments.gid_map:
        options["gid-map"] = arguments.gid_map
    if arguments.keep_identity:
        options["keep-identity"] = True
    with contextlib.ExitStack() as stack:
        if arguments.root_password is not None:
            # Not in the message, which a monitor of the bus can read.
            descriptor = stack.enter_context(content_descriptor(arguments.root_password.encode()))
            options["root-password-fd"] = descriptor
        yield options


def _keys(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise unreadable(f"--ssh-key {path}", error, InvalidArgument) from error
    except UnicodeDecodeError:
        raise InvalidArgument(f"--ssh-key {path} is not a file of public keys.") from None
    lines = (line.strip() for line in text.splitlines())
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys or "PRIVATE KEY" in text:
        raise InvalidArgument(f"--ssh-key {path} has no public key. Did you mean {path}.pub?")
    return keys


def _id_range(text: str) -> IdRange:
    match = _ID_RANGE.fullmatch(text)
    if match is None or max(numbers := [int(one) for one in match.groups()]) >= 2**32:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a range of ids. Write START:TARGET:COUNT, such as 0:100000:65536.'
        )
    start, target, count = numbers
    return start, target, count
