# SPDX-License-Identifier: LGPL-2.1-or-later
"""A parser of arguments whose errors are two lines: the problem, and where to read more."""

import argparse
import difflib
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from virtlayer.client.exits import Exit

type Commands = argparse._SubParsersAction[Parser]  # noqa: SLF001 -- has no other name

_NAMED_ARGUMENT = re.compile(r"^argument ([^:]+): ")
"""How argparse begins a message about one argument."""


class UsageError(Exception):
    """The command line is wrong.

    Args:
        message: The problem, and a suggestion.
        hint: Where to read more; "" if the message says everything.
        status: The exit status of the command.
    """

    def __init__(self, message: str, hint: str = "", *, status: int = Exit.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError.

    Args:
        reserved: Names of podman's commands that do not exist, and what to do instead.
        settings: Those of argparse's parser.

    Attributes:
        keys: Those of the JSON that the command prints.
        failure: The exit status of a wrong command line.
    """

    def __init__(self, *, reserved: dict[str, str] | None = None, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self._reserved = reserved or {}
        self.keys: tuple[str, ...] = ()
        self.failure: int = Exit.USAGE

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError for a message of argparse's."""
        text = _NAMED_ARGUMENT.sub(r"\1: ", message)
        if text.startswith("the following arguments are required"):
            text = f"{text[0].upper()}{text[1:]}."
        raise UsageError(text, f'See "{self.prog} --help".', status=self.failure)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse arguments here, so that the parser of a command reports unknown arguments."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._unknown(unknown[0]))
        return found, unknown

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Return the values of words of the command line. argparse calls this."""
        if action.nargs == argparse.PARSER:
            # Some releases of Python 3.12 and 3.13 leave the "--" that ends the options. No command
            # or image has this name.
            while arg_strings[0] == "--" and len(arg_strings) > 1:
                arg_strings = arg_strings[1:]
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Check a value that must be one of a few. argparse calls this."""
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 -- no other name
            raise argparse.ArgumentError(action, f'"{value}" is not one of {", ".join(choices)}.')
        if value in self._reserved:
            raise UsageError(f'"{value}" is not supported: {self._reserved[value]}.')
        self.error(f'Unknown command "{value}".{_suggestion(value, choices)}')

    def _unknown(self, argument: str) -> str:
        name = argument.partition("=")[0]
        if not name.startswith("-"):
            return f'Unexpected argument "{argument}".'
        options = [option for option in self._option_string_actions if option.startswith("--")]
        return f"Unknown option {name}.{_suggestion(name, options)}"


def _suggestion(word: str, choices: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.7)
    return f' Did you mean "{found[0]}"?' if found else ""
