# SPDX-License-Identifier: LGPL-2.1-or-later
"""The first process of an image, for domain XML that starts it without an init of ours."""

import posixpath
import re
from dataclasses import dataclass

from virtlayer.protocol.image_startup import parse_image_startup

_INITS = ("init", "systemd")
_DEFAULT_INIT = "/sbin/init"
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
    given = parse_image_startup(config)
    user, _, group = given.user.partition(":")
    variables = (variable.partition("=") for variable in given.environment)
    return Startup(
        command=(given.entrypoint + given.command) or (_DEFAULT_INIT,),
        environment=tuple((name, value) for name, _, value in variables if _NAME.fullmatch(name)),
        directory=given.directory or "/",
        user="" if user in {"root", "0"} else user,
        group=group,
    )
