# SPDX-License-Identifier: LGPL-2.1-or-later
"""The value of ``--host``, and the command line of ssh for it."""

import re
import shlex
from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass

_PROGRAM = ("virtlayer",)
_OPTIONS = (
    "-T",
    "-a",
    "-x",
    "-oClearAllForwardings=yes",
    "-oPermitLocalCommand=no",
    "-oRemoteCommand=none",
)
"""What scp has as well: settings of ssh_config(5) for a shell there would be in the way."""
_NOT_IN_A_HOST = frozenset(" []/'`\"$\\;&<>|(){},")
_NOT_IN_A_USER = _NOT_IN_A_HOST - frozenset("$\\,")
"""What ssh takes for a part of a URI, or a shell in its configuration for a command (%h, %r). Newer
versions of ssh refuse such names as well. Users of a Windows domain have a backslash."""
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_ADDRESS = re.compile(r"\[([0-9A-Fa-f:.%]+[^\]]*)\](?::(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Destination:
    """Another host.

    Attributes:
        host: Its name, address, or alias in ssh_config(5).
        user: The user there; "" for the one of ssh_config.
        port: The port; 0 for the one of ssh_config.
    """

    host: str
    user: str = ""
    port: int = 0

    @property
    def ssh_login(self) -> str:
        """The command line of a user who logs in."""
        return " ".join(["ssh", *self._port_option, self._login])

    @property
    def _port_option(self) -> list[str]:
        return [f"-p{self.port}"] if self.port else []

    @property
    def _login(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    def ssh_command(self, program: Sequence[str] | None, *, session: bool) -> list[str]:
        """Return the command line that starts the bridge there.

        Args:
            program: virtlayer there: a program and arguments; None for the one in PATH.
            session: Whether it connects to the session bus.
        """
        options = ["--user"] if session else []
        return [
            "ssh",
            *_OPTIONS,
            *self._port_option,
            "--",
            self._login,
            # ssh joins its arguments with blanks, and the user's shell there takes them apart.
            shlex.join([*(program or _PROGRAM), *options, "--bridge"]),
        ]


def destination(text: str) -> Destination:
    """Parse ``[user@]host[:port]``; an IPv6 address with a port is in brackets.

    Raises:
        ArgumentTypeError: It has another form.
    """
    user, at, rest = text.rpartition("@")
    host, port = _host_and_port(rest)
    if not host or (at and not user):
        raise ArgumentTypeError(f'"{text}" is not of the form [USER@]HOST[:PORT].')
    for part, refused in ((user, _NOT_IN_A_USER), (host, _NOT_IN_A_HOST)):
        # ssh takes a dash for an option.
        if part.startswith("-") or not part.isprintable() or refused & set(part):
            raise ArgumentTypeError(f'"{part}" is not a valid name of a host or user.')
    return Destination(host, user, _number(text, port))


def program_there(text: str) -> tuple[str, ...]:
    """Return the program and arguments of ``--remote-command``, by the quotes of a shell.

    Raises:
        ArgumentTypeError: A quote is missing, or there is no program.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ArgumentTypeError(f'"{text}": {str(error).lower()}.') from None
    if not words:
        raise ArgumentTypeError("The command is empty.")
    return words


def _host_and_port(text: str) -> tuple[str, str | None]:
    if match := _ADDRESS.fullmatch(text):
        return match[1], match[2]
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    # Several colons without brackets are an IPv6 address.
    return text, None


def _number(text: str, port: str | None) -> int:
    if port is None:
        return 0
    if not _PORT.fullmatch(port) or not 0 < int(port) < 2**16:
        raise ArgumentTypeError(f'"{text}": "{port}" is not a port.')
    return int(port)
