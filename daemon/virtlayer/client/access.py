# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the caller may reach a source, as options of Pull and Inspect.

A password is read from standard input or asked for, never taken from the command line, and an
authfile is read here, with the rights of the caller, so that the daemon gets its content only.
"""

import contextlib
import getpass
import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from virtlayer.client.bus.values import OptionValue
from virtlayer.client.logins import content_descriptor, given_logins, usual_logins
from virtlayer.errors import InvalidArgument

_LOCAL = re.compile(r"(oci|oci-archive|docker-archive|dir):(.+)", re.DOTALL)


def absolute_source(source: str) -> str:
    """A source whose path, if it has one, starts at the root: the daemon works elsewhere."""
    match = _LOCAL.fullmatch(source)
    return f"{match[1]}:{Path(match[2]).absolute()}" if match else source


def read_password(arguments: Namespace) -> str | None:
    """The password that goes with ``--username``; None without.

    Raises:
        InvalidArgument: There is no way to get one.
    """
    if not arguments.username:
        if arguments.password_stdin:
            raise InvalidArgument("--password-stdin needs --username.")
        return None
    if arguments.password_stdin:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    elif sys.stdin.isatty():
        password = getpass.getpass("Password: ")
    else:
        raise InvalidArgument(
            "There is no terminal to ask for the password; use --password-stdin or --authfile."
        )
    if not password:
        raise InvalidArgument("The password is empty.")
    return password


@contextlib.contextmanager
def access_options(arguments: Namespace) -> Iterator[dict[str, OptionValue]]:
    """The options that the access arguments ask for; their descriptors are open meanwhile.

    Raises:
        InvalidArgument: A file with logins cannot be read.
    """
    with contextlib.ExitStack() as open_files:
        options: dict[str, OptionValue] = {}
        if arguments.platform:
            options["platform"] = arguments.platform
        if (logins := _logins(arguments)) is not None:
            options["auth-fd"] = open_files.enter_context(content_descriptor(logins))
        if arguments.username:
            options["username"] = arguments.username
            options["password"] = arguments.password
        if not arguments.tls_verify:
            options["tls-verify"] = False
        if arguments.cert_dir:
            options["cert-dir"] = str(arguments.cert_dir.absolute())
        yield options


def _logins(arguments: Namespace) -> bytes | None:
    """The logins to pass; what the command line says comes before the caller's usual files."""
    if arguments.authfile:
        return given_logins(Path(arguments.authfile), "The authfile")
    if arguments.username or _LOCAL.fullmatch(arguments.source):
        return None
    return usual_logins(os.environ)
