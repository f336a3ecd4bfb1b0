# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of virtlayer: the parser of all commands, in the order of ``--help``."""

import argparse
from pathlib import Path

from virtlayer.client.commands.configured import add_populate, add_status
from virtlayer.client.commands.history import add_history
from virtlayer.client.commands.images import add_images, add_remove, add_tag
from virtlayer.client.commands.inspect import add_inspect
from virtlayer.client.commands.jobs import add_cancel, add_job, add_jobs
from virtlayer.client.commands.login import add_login, add_logout
from virtlayer.client.commands.machines import add_ps, add_rm, add_start, add_stop, add_wait
from virtlayer.client.commands.pools import add_df, add_prune, add_rescan
from virtlayer.client.commands.pull import add_pull
from virtlayer.client.commands.run import add_run
from virtlayer.client.commands.streams import add_console, add_logs
from virtlayer.client.commands.volumes import add_create_volume, add_remove_volume, add_volumes
from virtlayer.client.common_arguments import add_command, add_everywhere, add_pool
from virtlayer.client.exits import MEANINGS
from virtlayer.client.parser import Commands, Parser
from virtlayer.client.values import memory
from virtlayer.client.xml import xml
from virtlayer.version import VERSION

_RESERVED = {
    "exec": 'log in to the machine, with ssh or "virtlayer console"',
}
"""Commands of podman that do not exist here."""


def build_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="virtlayer",
        description="Container images as qcow2 backing chains in libvirt storage pools.",
        epilog=_exit_statuses(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        reserved=_RESERVED,
    )
    parser.add_argument("-V", "--version", action="version", version=f"virtlayer {VERSION}")
    parser.set_defaults(
        run=None,
        run_locally=None,
        failure=None,
        username=None,
        creds=None,
        password_stdin=False,
        ask_root_password=False,
        root_password_stdin=False,
    )
    add_everywhere(parser, defaults=True)
    commands = parser.add_subparsers(
        dest="command", title="commands", metavar="COMMAND", required=True
    )
    for add in (
        add_pull,
        add_images,
        add_inspect,
        add_history,
        add_tag,
        add_remove,
        add_create_volume,
        add_volumes,
        add_remove_volume,
        add_run,
        add_ps,
        add_start,
        add_stop,
        add_wait,
        add_rm,
        add_console,
        add_logs,
        _add_xml,
        add_jobs,
        add_job,
        add_cancel,
        add_df,
        add_prune,
        add_rescan,
        add_populate,
        add_status,
        add_login,
        add_logout,
        _add_help,
    ):
        add(commands)
    return parser


def _add_xml(commands: Commands) -> None:
    command = add_command(
        commands,
        "xml",
        "print libvirt domain XML that starts a volume",
        xml,
        keys=("xml", "warnings"),
    )
    command.add_argument("name", metavar="IMAGE|VOLUME", help="an image requires --volume")
    add_pool(command)
    command.add_argument(
        "--volume", metavar="NAME", help="create this volume on the image, as the domain's disk"
    )
    command.add_argument("--type", choices=("qemu", "lxc"), default="qemu", help="(default: qemu)")
    command.add_argument(
        "--privileged",
        action="store_true",
        help="with --type=lxc: allow that root of the container is root of the host",
    )
    command.add_argument("--kernel", type=Path, help="(default: the newest one in /boot)")
    command.add_argument("--initrd", type=Path, help="(default: the one of that kernel)")
    command.add_argument(
        "--no-kvm", dest="kvm", action="store_false", help="use emulation (TCG), not KVM"
    )
    command.add_argument("--domain", metavar="NAME", help="(default: after the image or volume)")
    command.add_argument(
        "--memory",
        type=memory,
        default="1G",
        help="such as 2G; without a unit in MiB, at least 16 MiB (default: 1G)",
    )


def _add_help(commands: Commands) -> None:
    command = add_command(commands, "help", "show the help of virtlayer or of a command", None)
    command.add_argument("topic", metavar="COMMAND", nargs="*")


def _exit_statuses() -> str:
    lines = (f"{status.value:>5}  {meaning}" for status, meaning in MEANINGS.items())
    return "\n".join(("exit statuses:", *lines))
