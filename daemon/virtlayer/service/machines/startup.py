# SPDX-License-Identifier: LGPL-2.1-or-later
"""Combines what an image starts with what a caller wants to start, by the rules of podman-run(1).

An entrypoint replaces the image's entrypoint and command, a command only the image's command. The
variables of the caller replace those of the image that have the same names.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable
from virtlayer.protocol.image_startup import can_be_passed, init_in, parse_image_startup
from virtlayer.service.machines.stop_signals import DEFAULT, parse_stop_signal

_ROOT = ("", "0", "root")
_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupOptions:
    """What a caller wants to start; ``repr()`` shows no secret.

    Attributes:
        command: Replaces the image's command; empty to keep that.
        entrypoint: Replaces the image's entrypoint and command; None to keep them.
        environment: NAME=VALUE; values can be secrets.
        user: USER, UID, USER:GROUP or UID:GID; "" for the image's.
        working_directory: An absolute path; "" for the image's.
        terminal: Whether it gets a terminal, instead of three pipes.
        interactive: Whether its standard input stays open, instead of being at its end.

    Raises:
        InvalidArgument: An option is invalid.
    """

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[str, ...] = field(default=(), repr=False)
    user: str = ""
    working_directory: str = ""
    terminal: bool = False
    interactive: bool = False

    def __post_init__(self) -> None:
        for option, texts in (
            ("command", self.command),
            ("entrypoint", self.entrypoint or ()),
            ("user", (self.user,)),
            ("working-directory", (self.working_directory,)),
        ):
            for text in texts:
                if not can_be_passed(text):
                    raise InvalidArgument(
                        f'Invalid option "{option}": "{printable(text[:_SHOWN])}" has a NUL or is '
                        "not valid Unicode, so no program can be given it."
                    )
        if self.working_directory and not self.working_directory.startswith("/"):
            raise InvalidArgument(
                f'Invalid option "working-directory": "{self.working_directory[:_SHOWN]}" is not '
                "an absolute path."
            )
        for variable in self.environment:
            _check_variable(variable, 'Invalid option "environment"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """What a machine starts; ``repr()`` shows no secret.

    Attributes:
        arguments: The program and its arguments; empty if the image names none: then its init is
            started, if it has one.
        environment: NAME=VALUE, each name once.
        directory: The working directory.
        user: As ``StartupOptions`` has it; "" for user 0.
        terminal: Whether it gets a terminal.
        interactive: Whether its standard input stays open.
        stop_signal: The number of the signal that ends it.
        is_init: Whether the program is the image's own init, which becomes process 1.
    """

    arguments: tuple[str, ...]
    environment: tuple[str, ...] = field(default=(), repr=False)
    directory: str = "/"
    user: str = ""
    terminal: bool = False
    interactive: bool = False
    stop_signal: int = DEFAULT
    is_init: bool = False

    def with_init(self, init: str | None, image: str) -> "Startup":
        """Return it with the init of the image, if it has no program.

        Args:
            init: The path of the image's init; None if it has none.
            image: The name of the image, for the error.

        Raises:
            InvalidArgument: There is nothing to start.
        """
        if self.arguments:
            return self
        if init is None:
            raise InvalidArgument(
                f'The image "{image}" names no command and has no /sbin/init: there is nothing to '
                'start. Give the option "command".'
            )
        return replace(self, arguments=(init,), is_init=True)


def startup_of(config: str, options: StartupOptions) -> Startup:
    """Return what a machine of an image starts.

    Args:
        config: The OCI config of the image, JSON.
        options: What the caller wants.

    Raises:
        InvalidArgument: The image or the caller names something that cannot be started.
    """
    image = parse_image_startup(config)
    for variable in image.environment:
        _check_variable(variable, "The configuration of the image has an invalid variable")
    arguments = _arguments(image.entrypoint, image.command, options)
    user = options.user or image.user
    # Only root can be process 1 of a machine.
    init = init_in(arguments) if user in _ROOT else ()
    directory = options.working_directory or image.directory
    return Startup(
        arguments=init or arguments,
        environment=_merged((*image.environment, *options.environment)),
        directory=directory if directory.startswith("/") else f"/{directory}",
        # For our init, "root" is not "": it needs an entry in the image's passwd, as in podman.
        user="" if init else user,
        terminal=options.terminal,
        interactive=options.interactive,
        stop_signal=parse_stop_signal(image.stop_signal),
        is_init=bool(init),
    )


def _arguments(
    entrypoint: tuple[str, ...], command: tuple[str, ...], options: StartupOptions
) -> tuple[str, ...]:
    if options.entrypoint is not None:
        entrypoint, command = options.entrypoint, ()
    if entrypoint == ("",):
        # podman run --entrypoint "" removes the image's.
        entrypoint = ()
    arguments = entrypoint + (options.command or command)
    if arguments and not arguments[0]:
        raise InvalidArgument(
            'The program to start has an empty name. Give the option "command" or the option '
            '"entrypoint".'
        )
    return arguments


def _merged(variables: Iterable[str]) -> tuple[str, ...]:
    """Return the last variable of each name, in the order in which the names appear."""
    merged: dict[str, str] = {}
    for variable in variables:
        merged[variable.partition("=")[0]] = variable
    return tuple(merged.values())


def _check_variable(variable: str, problem: str) -> None:
    name, equals, _ = variable.partition("=")
    # The message must not contain the value, which can be a secret.
    shown = printable(name[:_SHOWN]) if equals else "one"
    if not name or not equals:
        raise InvalidArgument(f"{problem}: {shown or 'one'} is not of the form NAME=VALUE.")
    if not can_be_passed(variable):
        raise InvalidArgument(
            f"{problem}: {shown} has a NUL or is not valid Unicode, so no program can be given it."
        )
