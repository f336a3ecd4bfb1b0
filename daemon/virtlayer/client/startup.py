# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads the part of an OCI config that a container engine applies: how an image is started.

The format is that of the OCI image-spec, config.md ("Properties", ``config``).
"""

import json
import posixpath
import re
from dataclasses import dataclass
from typing import Any

from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable

_INITS = ("init", "systemd")
_DEFAULT_INIT = "/sbin/init"
_SHOWN = 80
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""POSIX.1-2024, "Environment Variable Definition"; shells and libvirt's schema want no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """The first process of an image.

    Attributes:
        command: The program and its arguments.
        environment: Names and values; only of names that every program can have.
        directory: Its working directory.
        user: A name or number; "" for root.
        group: A name or number; "" for the user's own group.
    """

    command: tuple[str, ...] = (_DEFAULT_INIT,)
    environment: tuple[tuple[str, str], ...] = ()
    directory: str = "/"
    user: str = ""
    group: str = ""

    @property
    def is_init(self) -> bool:
        """Whether it is an init of a whole system, which does all further setup."""
        return (
            posixpath.basename(self.command[0]) in _INITS
            and self.command[0].startswith("/")
            and (self.directory, self.user) == ("/", "")
        )


def parse_startup(config: str) -> Startup:
    """Read an image's config; what is missing or of another type is left out.

    Args:
        config: JSON, or "" if there is none.

    Raises:
        InvalidArgument: A value has a character that cannot be passed to a program.
    """
    document = json.loads(config) if config else {}
    section = document.get("config") if isinstance(document, dict) else None
    given: dict[str, Any] = section if isinstance(section, dict) else {}
    user, _, group = _text(given.get("User")).partition(":")
    variables = (variable.partition("=") for variable in _texts(given.get("Env")))
    startup = Startup(
        command=(_texts(given.get("Entrypoint")) + _texts(given.get("Cmd"))) or (_DEFAULT_INIT,),
        environment=tuple((name, value) for name, _, value in variables if _NAME.fullmatch(name)),
        directory=_text(given.get("WorkingDir")) or "/",
        user="" if user in {"root", "0"} else user,
        group=group,
    )
    _check(startup)
    return startup


def _check(startup: Startup) -> None:
    variables = (f"{name}={value}" for name, value in startup.environment)
    for text in (*startup.command, *variables, startup.directory, startup.user, startup.group):
        if "\0" in text or not _is_unicode(text):
            raise InvalidArgument(
                f'The configuration of the image has "{printable(text[:_SHOWN])}", which no '
                "program can be given: it has a NUL or is not valid Unicode. Build the image again "
                "without it."
            )


def _is_unicode(text: str) -> bool:
    """Return whether it has no unpaired surrogate, which JSON can contain."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return ()
