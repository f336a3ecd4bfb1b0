# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer login`` and ``logout``: run skopeo, which writes the file that a pull reads."""

from argparse import Namespace
from pathlib import Path

from virtlayer.client.common_arguments import add_command
from virtlayer.client.parser import Commands, Parser
from virtlayer.client.replacement import replace_by
from virtlayer.client.values import boolean

_DETAILS = (
    "Runs skopeo-{name}(1). podman, skopeo and virtlayer use the same file of logins, which "
    "containers-auth.json(5) describes."
)


def add_login(commands: Commands) -> None:
    """Add ``virtlayer login``."""
    command = _add(commands, "login", "log in to a registry")
    command.add_argument("--username", "-u", metavar="NAME", help="(default: prompts for it)")
    command.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )
    command.add_argument(
        "--tls-verify",
        type=boolean,
        metavar="true|false",
        help="verify the registry's TLS certificate (default: true)",
    )
    command.add_argument(
        "--cert-dir", type=Path, help="directory with certificates for this registry"
    )


def add_logout(commands: Commands) -> None:
    """Add ``virtlayer logout``."""
    _add(commands, "logout", "log out of a registry")


def _add(commands: Commands, name: str, summary: str) -> Parser:
    command = add_command(commands, name, summary, None, details=_DETAILS.format(name=name))
    command.set_defaults(become=_by_skopeo)
    command.add_argument("registry", metavar="REGISTRY", help="such as registry.example:5000")
    command.add_argument("--authfile", type=Path, help="the file (default: your own login file)")
    return command


def _by_skopeo(arguments: Namespace) -> None:
    options = []
    for name in ("username", "authfile", "tls_verify", "cert_dir"):
        if (value := getattr(arguments, name, None)) is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            options.append(f"--{name.replace('_', '-')}={text}")
    if arguments.password_stdin:
        options.append("--password-stdin")
    replace_by("skopeo", arguments.command, *options, "--", arguments.registry)
