# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads the part of an OCI config that says how a container engine starts an image.

The format is that of the OCI image-spec, config.md ("Properties", ``config``).
"""

import json
import posixpath
from dataclasses import dataclass
from typing import Any

from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable

_INITS = ("/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init")
_SHELL_FORM = ("/bin/sh", "-c")
"""What builders put before the text of a CMD or ENTRYPOINT that is not a list."""
_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStartup:
    """How an image is started, as its config says.

    Attributes:
        entrypoint: The program, with its first arguments.
        command: Further arguments, or the program if there is no entrypoint.
        environment: NAME=VALUE; an image can also have other texts here.
        directory: The working directory; "" if the config has none.
        user: USER, UID, USER:GROUP or UID:GID; "" for root.
        stop_signal: The name or number of the signal that ends it; "" if the config has none.
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    directory: str = ""
    user: str = ""
    stop_signal: str = ""


def parse_image_startup(config: str) -> ImageStartup:
    """Read an image's config; what is missing or of another type is left out.

    Args:
        config: JSON, or "" if there is none.

    Raises:
        InvalidArgument: A value has a character that cannot be passed to a program.
    """
    document = json.loads(config) if config else {}
    section = document.get("config") if isinstance(document, dict) else None
    given: dict[str, Any] = section if isinstance(section, dict) else {}
    startup = ImageStartup(
        entrypoint=_texts(given.get("Entrypoint")),
        command=_texts(given.get("Cmd")),
        environment=_texts(given.get("Env")),
        directory=_text(given.get("WorkingDir")),
        user=_text(given.get("User")),
        stop_signal=_text(given.get("StopSignal")),
    )
    for text in (
        *startup.entrypoint,
        *startup.command,
        *startup.environment,
        startup.directory,
        startup.user,
        startup.stop_signal,
    ):
        if not can_be_passed(text):
            raise InvalidArgument(
                f'The configuration of the image has "{printable(text[:_SHOWN])}", which no '
                "program can be given: it has a NUL or is not valid Unicode. Build the image again "
                "without it."
            )
    return startup


def can_be_passed(text: str) -> bool:
    """Whether a program can be given a text: it has no NUL and no unpaired surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def init_in(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the init that a command starts, with its arguments; empty if it starts no init.

    The rule is podman's (``--systemd``): a path of an init, or a program called systemd, also as
    the one word of a shell's line.
    """
    if command[:2] == _SHELL_FORM and len(command) > 2:
        command = command[2:3]
    if command and (command[0] in _INITS or posixpath.basename(command[0]) == "systemd"):
        return command
    return ()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return ()
