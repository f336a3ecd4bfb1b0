# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer login`` and ``logout``: run skopeo, which writes the file that a pull reads."""

import json
import re
import subprocess
from argparse import Namespace
from pathlib import Path

from virtlayer.client.common_arguments import add_command
from virtlayer.client.parser import Commands, Parser
from virtlayer.client.values import boolean
from virtlayer.errors import InvalidArgument, RegistryAuth, RegistryUnavailable, VirtlayerError

_DETAILS = (
    "Runs skopeo-{name}(1). podman, skopeo and virtlayer use the same file of logins, which "
    "containers-auth.json(5) describes."
)

_LOGGED = re.compile(r'^time=\S+ level=fatal msg=("(?:[^"\\]|\\.)*")', re.MULTILINE)
"""An error in the log format of skopeo."""
_VERBS = {"login": "log in to", "logout": "log out of"}


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
    command.set_defaults(run_locally=_by_skopeo)
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
    try:
        # It writes its prompts to standard output, and only errors to standard error.
        done = subprocess.run(
            ["skopeo", arguments.command, *options, "--", arguments.registry],  # noqa: S607 -- the one in PATH
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise InvalidArgument("skopeo is not installed. Install the package skopeo.") from None
    if done.returncode != 0:
        raise _failure(arguments.command, arguments.registry, done.stderr)


def _failure(command: str, registry: str, text: str) -> VirtlayerError:
    """Return the error for what skopeo has written to standard error."""
    reason = _reason(text)
    if "invalid username/password" in reason:
        return RegistryAuth(f"{registry} refused the login: invalid user name or password.")
    if "not logged in" in reason:
        return InvalidArgument(f"You are not logged in to {registry}.")
    if "pinging container registry" in reason:
        return RegistryUnavailable(
            f"Cannot reach {registry}: {reason}. Check its name and your network. If it is a "
            "registry without TLS, use --tls-verify=false."
        )
    return RegistryAuth(f"Cannot {_VERBS[command]} {registry}: {reason}.")


def _reason(text: str) -> str:
    logged = _LOGGED.findall(text)
    if not logged:
        return text.strip()
    try:
        return str(json.loads(logged[-1]))
    except ValueError:
        # Go has escapes that JSON does not have.
        return str(logged[-1][1:-1])
