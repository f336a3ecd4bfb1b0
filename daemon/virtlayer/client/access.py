# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the caller may reach a source, as options of Pull and Inspect.

A password is read from standard input or asked for, never taken from the command line, and an
authfile is opened here, with the rights of the caller, so that the daemon gets its content only.
"""

import contextlib
import getpass
import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from virtlayer.client.bus.values import Descriptor, OptionValue
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
    """The options that the access arguments ask for; an authfile is open during the context.

    Raises:
        InvalidArgument: The authfile cannot be read.
    """
    with contextlib.ExitStack() as open_files:
        options: dict[str, OptionValue] = {}
        if arguments.platform:
            options["platform"] = arguments.platform
        if authfile := _authfile(arguments):
            options["auth-fd"] = open_files.enter_context(_opened(authfile))
        if arguments.username:
            options["username"] = arguments.username
            options["password"] = arguments.password
        if not arguments.tls_verify:
            options["tls-verify"] = False
        if arguments.cert_dir:
            options["cert-dir"] = str(arguments.cert_dir.absolute())
        yield options


def _authfile(arguments: Namespace) -> Path | None:
    """The authfile to use; a user name on the command line comes before the environment."""
    if arguments.authfile:
        return Path(arguments.authfile)
    usual = os.environ.get("REGISTRY_AUTH_FILE")
    return Path(usual) if usual and not arguments.username else None


@contextlib.contextmanager
def _opened(authfile: Path) -> Iterator[Descriptor]:
    try:
        descriptor = os.open(authfile, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidArgument(
            f"The authfile {authfile} cannot be read: {error.strerror}."
        ) from error
    try:
        yield Descriptor(descriptor)
    finally:
        os.close(descriptor)
