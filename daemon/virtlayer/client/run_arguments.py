# SPDX-License-Identifier: LGPL-2.1-or-later
"""The arguments of ``virtlayer run``. What podman has too, has the same name and meaning."""

import argparse
import json
import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any, NoReturn

from virtlayer.client.bus.values import OptionValue, PublishedPorts, SmallNumber
from virtlayer.client.common_arguments import add_access
from virtlayer.client.customizations import add_customizations
from virtlayer.client.environment import environment_of
from virtlayer.client.exits import RUN_FAILED
from virtlayer.client.parser import Parser, UsageError
from virtlayer.client.published_ports import published_ports
from virtlayer.client.values import memory, virtual_size
from virtlayer.errors import InvalidArgument

PULL_POLICIES = ("missing", "always", "never")
_NOT_HERE = {
    ("-v", "--volume"): "a machine shares no files with this host; build them into the image, or "
    "copy them over the network",
    ("--restart",): 'libvirt starts machines; "virsh autostart NAME" starts one with the host',
}
"""Options of podman that machines do not have, and why."""


def add_run_arguments(command: Parser) -> None:
    """Add all arguments of the command."""
    command.add_argument("--name", help="name of the machine (default: from the image)")
    command.add_argument(
        "--rm", action="store_true", help="remove the machine with its volume when it has stopped"
    )
    _add_streams(command)
    _add_program(command)
    _add_hardware(command)
    _add_boot(command)
    add_customizations(command)
    command.add_argument(
        "--pull",
        choices=PULL_POLICIES,
        default="missing",
        help="pull the image if the pool does not have it (missing, the default), always, or never",
    )
    command.add_argument(
        "--pool", default="", help="(default: the pool default, or the only active one)"
    )
    add_access(command)
    for names, reason in _NOT_HERE.items():
        command.add_argument(
            *names, action=_NotHere, reason=reason, nargs="?", help=argparse.SUPPRESS
        )
    command.add_argument(
        "image",
        metavar="IMAGE|SOURCE",
        # All words that follow are the command's, also options and "--".
        nargs=argparse.PARSER,
        action=_ImageAndCommand,
        help="an image of the pool, or a source with a transport, such as "
        "docker://docker.io/library/debian:13; the command and its arguments can follow",
    )


def machine_options(arguments: Namespace) -> dict[str, OptionValue]:
    """Return the options of CreateDomain, without those that need descriptors.

    Raises:
        InvalidArgument: A file of variables cannot be read, or a variable or path is invalid.
    """
    variables = environment_of(arguments.env_file, arguments.env, os.environ)
    ports = tuple(port for one in arguments.publish for port in one)
    given: dict[str, OptionValue | None] = {
        "memory": arguments.memory,
        "vcpus": SmallNumber(arguments.cpus) if arguments.cpus else None,
        "type": arguments.type,
        "network": arguments.network,
        "publish": PublishedPorts(ports) if ports else None,
        "kernel": _kernel(arguments.kernel, is_here=arguments.host is None),
        "kernel-version": arguments.kernel_version,
        "command": arguments.words or None,
        "entrypoint": arguments.entrypoint,
        "environment": variables or None,
        "user": arguments.as_user,
        "working-directory": arguments.workdir,
        "tty": arguments.tty or None,
        "interactive": arguments.interactive or None,
        "ephemeral": arguments.rm or None,
        "volume-size": arguments.volume_size,
    }
    return {name: value for name, value in given.items() if value is not None}


def _add_streams(command: ArgumentParser) -> None:
    group = command.add_argument_group("input and output")
    group.add_argument(
        "-d", "--detach", action="store_true", help="print the name of the machine, and return"
    )
    group.add_argument(
        "-i", "--interactive", action="store_true", help="connect the standard input"
    )
    group.add_argument("-t", "--tty", action="store_true", help="give the program a terminal")


def _add_program(command: ArgumentParser) -> None:
    group = command.add_argument_group("the program of the machine")
    group.add_argument(
        "--entrypoint",
        type=_entrypoint,
        metavar="PROGRAM",
        help='replaces the entrypoint and command of the image; with arguments as JSON: ["a", "b"]',
    )
    group.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set a variable, by default to its value here; can be repeated",
    )
    group.add_argument(
        "--env-file",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="set the variables of a file, a line each; can be repeated",
    )
    group.add_argument(
        "-u",
        dest="as_user",
        metavar="USER[:GROUP]",
        help="user and group of the program, names or IDs of the image",
    )
    group.add_argument(
        "-w", "--workdir", metavar="DIRECTORY", help="working directory of the program"
    )


def _add_hardware(command: ArgumentParser) -> None:
    group = command.add_argument_group("the machine")
    group.add_argument(
        "-m",
        "--memory",
        type=memory,
        help="such as 2G; without a unit in MiB (default: 1G)",
    )
    group.add_argument("--cpus", type=_cpus, metavar="NUMBER", help="virtual CPUs (default: 2)")
    group.add_argument(
        "--type",
        choices=("kvm", "qemu", "lxc"),
        help="kvm, qemu (emulated), or lxc for a directory of an image (default: kvm where it "
        "works, else qemu)",
    )
    group.add_argument(
        "--network",
        metavar="NETWORK",
        help="network:NAME, bridge:NAME, user or none (default: network:default if it is active, "
        "else user)",
    )
    group.add_argument(
        "-p",
        "--publish",
        action="append",
        type=published_ports,
        default=[],
        metavar="[ADDRESS:]HOST:GUEST[/udp]",
        help="forward a port of this host to the machine; can be repeated",
    )
    group.add_argument(
        "--volume-size",
        metavar="SIZE",
        type=virtual_size,
        help="virtual size of its volume, with a unit (default: the image's)",
    )
    group.add_argument(
        "--user-data",
        type=Path,
        metavar="FILE",
        help="user data for cloud-init, if the image is a disk",
    )


def _add_boot(command: ArgumentParser) -> None:
    group = command.add_argument_group("the kernel")
    group.add_argument(
        "--kernel",
        metavar="IMAGE|FILE",
        help="an image that contains a kernel, or with --user a kernel of this host (default: the "
        "kernel of the image, else that of the settings, else this host's)",
    )
    group.add_argument("--kernel-version", metavar="VERSION", help="if the image has several")


def _entrypoint(text: str) -> list[str]:
    """Return the program and arguments: a JSON list of strings, or else one program, as podman."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        # An empty program removes that of the image; D-Bus options have no empty list.
        return found or [""]
    return [text]


def _cpus(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**32):
        raise ArgumentTypeError(f'"{text}" is not a number of CPUs. A machine has whole ones.')
    return int(text)


def _kernel(text: str | None, *, is_here: bool) -> str | None:
    if text is None or not text.startswith((".", "/")):
        return text
    if not is_here and not text.startswith("/"):
        raise InvalidArgument(
            f'--kernel: "{text}" is a file of the host of --host. Name its absolute path.'
        )
    return str(Path(text).absolute())


class _ImageAndCommand(argparse.Action):
    """Divides the words of the end into the image and the command."""

    def __call__(
        self, _parser: ArgumentParser, namespace: Namespace, values: Any, *_option: Any
    ) -> None:
        """Set ``source`` and ``words``."""
        namespace.source, *namespace.words = values


class _NotHere(argparse.Action):
    """Refuses an option.

    Args:
        reason: Why, as the end of a sentence.
        settings: Those of argparse's actions.
    """

    def __init__(self, *, reason: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._reason = reason

    def __call__(
        self,
        _parser: ArgumentParser,
        _namespace: Namespace,
        _values: Any,
        option_string: str | None = None,
    ) -> NoReturn:
        """Raise the error."""
        message = f"{option_string} is not supported: {self._reason}."
        raise UsageError(message, status=RUN_FAILED)
