# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of virtlayer: what can be said, and how it reads in ``--help``."""

import argparse
from pathlib import Path

from virtlayer.client.exits import MEANINGS
from virtlayer.client.formatting import parse_size, parse_virtual_size
from virtlayer.client.volumes import add_customizations
from virtlayer.errors import InvalidArgument
from virtlayer.version import VERSION

type _Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 -- has no other name


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="virtlayer",
        description="Container images as qcow2 backing chains in libvirt storage pools.",
        epilog=_exit_statuses(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"virtlayer {VERSION}")
    parser.set_defaults(
        username=None,
        password_stdin=False,
        ask_root_password=False,
        root_password_stdin=False,
    )
    _add_everywhere(parser, defaults=True)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    pull = _add_command(commands, "pull", "pull an image into a pool, as a chain of volumes")
    pull.add_argument(
        "source", metavar="SOURCE", help="such as docker://docker.io/library/debian:13"
    )
    _add_pool(pull)
    pull.add_argument(
        "--name", help="what the image is called in the pool (default: from the source)"
    )
    pull.add_argument(
        "--format",
        choices=("qcow2", "dir", "disk"),
        default="qcow2",
        help="a chain of volumes (default), one directory, or the disk that is in the image",
    )
    pull.add_argument(
        "--id-map",
        choices=("auto",),
        help="with --format=dir: give the files the ids of a container with a user namespace",
    )
    pull.add_argument("--size", type=_virtual_size, help="virtual size of the volumes, such as 20G")
    pull.add_argument(
        "--no-cache", dest="cache", action="store_false", help="keep none of the downloaded blobs"
    )
    pull.add_argument(
        "--replace",
        action="store_true",
        help="replace an image of another source that has the name",
    )
    pull.add_argument(
        "--no-wait", dest="wait", action="store_false", help="print the job's number and return"
    )
    pull.add_argument(
        "--volume",
        metavar="NAME",
        help="make this writable volume on the image as well; of a dir or disk, its name",
    )
    pull.add_argument(
        "--volume-size",
        type=_virtual_size,
        help="virtual size of that volume (default: the image's)",
    )
    _add_access(pull)
    add_customizations(pull)

    create = _add_command(commands, "create-volume", "make a writable volume on an image")
    create.add_argument("image", metavar="IMAGE", help='its name, from "virtlayer images"')
    create.add_argument("volume", metavar="VOLUME", help="the name of the volume")
    _add_pool(create)
    create.add_argument("--size", type=_virtual_size, help="virtual size (default: the image's)")
    add_customizations(create)

    inspect = _add_command(commands, "inspect", "show what an image is; nothing is stored")
    inspect.add_argument("source", metavar="SOURCE")
    _add_access(inspect)

    images = _add_command(commands, "images", "list the images in a pool, or in all")
    images.add_argument("pool", metavar="POOL", nargs="?", default="")

    _add_command(commands, "jobs", "list the jobs that run, wait, or ended just now")

    cancel = _add_command(commands, "cancel", "cancel a job")
    cancel.add_argument("id", metavar="ID", type=_job_id, help='its number, from "virtlayer jobs"')

    remove = _add_command(commands, "remove", "remove an image, with the layers that only it needs")
    remove.add_argument("image", metavar="IMAGE", help='its name, from "virtlayer images"')
    _add_pool(remove)

    prune = _add_command(commands, "prune", "delete the layers in a pool that nothing needs")
    _add_pool(prune)
    prune.add_argument("--dry-run", action="store_true", help="only show what would go")

    populate = _add_command(commands, "populate", "update the configured images")
    populate.add_argument(
        "--due", action="store_true", help="only those whose refresh interval is over"
    )

    _add_command(commands, "status", "show the configured images and how they are")

    xml = _add_command(commands, "xml", "print libvirt domain XML that starts a volume")
    xml.add_argument("name", metavar="IMAGE|VOLUME", help="an image requires --volume")
    _add_pool(xml)
    xml.add_argument(
        "--volume", metavar="NAME", help="create this volume on the image, as the domain's disk"
    )
    xml.add_argument("--type", choices=("qemu", "lxc"), default="qemu", help="(default: qemu)")
    xml.add_argument(
        "--privileged",
        action="store_true",
        help="with --type=lxc: allow that root of the container is root of the host",
    )
    xml.add_argument("--kernel", type=Path, help="(default: the newest one in /boot)")
    xml.add_argument("--initrd", type=Path, help="(default: the one of that kernel)")
    xml.add_argument(
        "--no-kvm", dest="kvm", action="store_false", help="let QEMU emulate the processor"
    )
    xml.add_argument("--domain", metavar="NAME", help="(default: after the image or volume)")
    xml.add_argument("--memory", type=_size, default="1G", help="(default: 1G)")

    rescan = _add_command(commands, "rescan", "make the catalog say what a pool holds")
    _add_pool(rescan)
    return parser


def _add_pool(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "pool", metavar="POOL", nargs="?", default="default", help="(default: default)"
    )


def _add_command(commands: _Commands, name: str, summary: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
    )
    _add_everywhere(command, defaults=False)
    return command


def _add_everywhere(parser: argparse.ArgumentParser, *, defaults: bool) -> None:
    """Add the options that may stand before and after the command, like systemctl's."""
    bus = parser.add_mutually_exclusive_group()
    default = False if defaults else argparse.SUPPRESS
    bus.add_argument(
        "--system",
        dest="session",
        action="store_false",
        default=default,
        help="talk to the virtlayerd of the system (default)",
    )
    bus.add_argument(
        "--user",
        dest="session",
        action="store_true",
        default=default,
        help="talk to the virtlayerd of the calling user, on the session bus",
    )
    parser.add_argument(
        "--json", action="store_true", default=default, help="JSON, on standard output and error"
    )


def _add_access(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("access to the source")
    group.add_argument("--platform", metavar="OS/ARCH[/VARIANT]", help="(default: this host's)")
    group.add_argument("--username", help="the password is asked for, unless --password-stdin")
    group.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    group.add_argument(
        "--authfile",
        type=Path,
        help='credentials as "skopeo login" writes them (default: your own login file)',
    )
    group.add_argument(
        "--tls-verify",
        type=_boolean,
        default=True,
        metavar="true|false",
        help="whether the registry must prove who it is (default: true)",
    )
    group.add_argument(
        "--no-tls-verify", dest="tls_verify", action="store_false", help="the same as false"
    )
    group.add_argument("--cert-dir", type=Path, help="certificates for this registry")


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _virtual_size(text: str) -> int:
    try:
        return parse_virtual_size(text)
    except (ValueError, InvalidArgument) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _job_id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**32):
        raise argparse.ArgumentTypeError(f'"{text}" is not the number of a job')
    return int(text)


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f'"{text}" is neither true nor false') from None


def _exit_statuses() -> str:
    lines = (f"{status.value:>5}  {meaning}" for status, meaning in MEANINGS.items())
    return "\n".join(("exit statuses:", *lines))
