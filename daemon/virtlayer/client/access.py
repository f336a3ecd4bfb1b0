# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts the access arguments for a source to options of Pull and Inspect.

A password is read from standard input or a prompt. An authfile is read here, with the rights of the
caller, so that the daemon only gets its content.
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
from virtlayer.client.logins import given_logins, usual_logins
from virtlayer.client.memory import content_descriptor
from virtlayer.client.sending import LOCAL, Sending, sending
from virtlayer.client.unreadable import unreadable
from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable

_CERTIFICATES = (".crt", ".cert", ".key")
"""Suffixes of the files in a directory of certificates (containers-certs.d(5))."""
_CERTIFICATES_LIMIT = 12
"""A message carries 16 descriptors."""


_REGISTRY = re.compile(r"docker://([^/]*[.:][^/]*)/")
"""Return the registry of a source, if it has one (otherwise it is Docker Hub)."""


def is_source(text: str) -> bool:
    """Return whether a text has a transport. Otherwise it is the name of an image of a pool."""
    return "://" in text or LOCAL.fullmatch(text) is not None


def absolute_source(source: str) -> str:
    """Return a source with an absolute path, if any: the daemon has another working directory."""
    match = LOCAL.fullmatch(source)
    return f"{match[1]}:{Path(match[2]).absolute()}" if match else source


def read_password(arguments: Namespace) -> str | None:
    """Return the password for ``--username`` or ``--creds``; None without these.

    Sets the username if it is in ``--creds``.

    Raises:
        InvalidArgument: There is no way to get one.
    """
    if arguments.creds is not None:
        arguments.username, colon, password = arguments.creds.partition(":")
        if not arguments.username:
            raise InvalidArgument("--creds has no user. Write USER:PASSWORD, or USER.")
        if colon:
            if arguments.password_stdin:
                raise InvalidArgument("Use --password-stdin or a password in --creds, not both.")
            return _not_empty(password)
    if not arguments.username:
        if arguments.password_stdin:
            raise InvalidArgument("--password-stdin requires --username.")
        return None
    if arguments.password_stdin:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    elif sys.stdin.isatty():
        password = getpass.getpass(f"Password of {printable(_account(arguments))}: ")
    else:
        raise InvalidArgument(
            "Cannot ask for the password without a terminal. Use --password-stdin or --authfile."
        )
    return _not_empty(password)


def _not_empty(password: str) -> str:
    if not password:
        raise InvalidArgument("The password is empty.")
    return password


def _account(arguments: Namespace) -> str:
    """The user, and the registry if the source names one."""
    registry = _REGISTRY.match(arguments.source)
    return f"{arguments.username} at {registry[1]}" if registry else str(arguments.username)


@contextlib.contextmanager
def access_options(
    arguments: Namespace, *, is_pulled: bool = True
) -> Iterator[tuple[dict[str, OptionValue], Sending]]:
    """Yield the options for the access arguments; their descriptors are open in the context.

    The system service does not have the caller's rights, and that of another host does not have the
    files, so it gets no path.

    Args:
        arguments: The arguments of the command.
        is_pulled: Whether the source is read; otherwise only logins that were named are passed.

    Yields:
        The options, and the sending of a local source.

    Raises:
        VirtlayerError: A file of the caller's cannot be read.
    """
    with contextlib.ExitStack() as open_files:
        options: dict[str, OptionValue] = {}
        if arguments.platform:
            options["platform"] = arguments.platform
        if (logins := _logins(arguments, is_pulled=is_pulled)) is not None:
            options["auth-fd"] = open_files.enter_context(content_descriptor(logins))
        if arguments.username:
            options["username"] = arguments.username
            options["password"] = arguments.password
        if not arguments.tls_verify:
            options["tls-verify"] = False
        if arguments.cert_dir and _is_read_by_service(arguments):
            options["cert-dir"] = str(arguments.cert_dir.absolute())
        elif arguments.cert_dir:
            options["cert-fds"] = {
                name: open_files.enter_context(content_descriptor(content))
                for name, content in certificates_in(arguments.cert_dir).items()
            }
        sent = Sending()
        if LOCAL.fullmatch(arguments.source) and not _is_read_by_service(arguments):
            source = absolute_source(arguments.source)
            options["source-fd"], sent = open_files.enter_context(sending(source))
        yield options, sent


def _is_read_by_service(arguments: Namespace) -> bool:
    """Return whether the service can read the caller's files: it runs as the caller, and here."""
    return bool(arguments.session) and arguments.host is None


def certificates_in(directory: Path) -> dict[str, bytes]:
    """Return the certificates and keys of a directory, by file name.

    Raises:
        InvalidArgument: One of them cannot be read, or there are too many.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if path.name.endswith(_CERTIFICATES))
        if len(paths) > _CERTIFICATES_LIMIT:
            raise InvalidArgument(
                f"--cert-dir {directory} has {len(paths)} certificates; the limit is "
                f"{_CERTIFICATES_LIMIT}."
            )
        return {path.name: path.read_bytes() for path in paths}
    except OSError as error:
        raise unreadable(f"--cert-dir {error.filename}", error, InvalidArgument) from error


def _logins(arguments: Namespace, *, is_pulled: bool) -> bytes | None:
    """Return the logins to pass; the command line comes before the caller's usual files."""
    if arguments.authfile:
        return given_logins(Path(arguments.authfile), "--authfile")
    if arguments.username or not is_pulled or LOCAL.fullmatch(arguments.source):
        return None
    return usual_logins(os.environ)
