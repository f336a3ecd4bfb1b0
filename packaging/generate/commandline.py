# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of virtlayer, read from its parser, so that completions and manual agree.

argparse has no public way to ask a parser what it accepts; the few private names are used here
and nowhere else.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virtlayer.client.arguments import build_parser
from virtlayer.client.parser import Parser


@dataclass(frozen=True, slots=True)
class Option:
    """An option.

    Attributes:
        names: As they are written, ``--name`` or ``-n``.
        value: What stands for its value in the help; empty if it takes none.
        words: The values that it can have, if those are few.
        is_path: Its value is a path.
        is_list: It may have several values.
        summary: Its help.
    """

    names: tuple[str, ...]
    value: str
    words: tuple[str, ...]
    is_path: bool
    is_list: bool
    summary: str


@dataclass(frozen=True, slots=True)
class Positional:
    """An argument without a name; ``name`` is in capitals, such as POOL.

    Attributes:
        name: What stands for its value in the help.
        is_optional: It may be missing.
        is_list: It may have several values; no other argument follows.
        words: The values that it can have, if those are few.
        summary: Its help.
    """

    name: str
    is_optional: bool
    is_list: bool
    words: tuple[str, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command; the one without a name has the options that may precede every command.

    Attributes:
        name: Its name; of a command below another one, both names.
        summary: Its help.
        aliases: Other names that it has.
        options: Its options.
        positionals: Its arguments without a name.
        description: Its own help: the summary and further sentences.
        keys: Those of the JSON that it prints.
    """

    name: str
    summary: str
    aliases: tuple[str, ...]
    options: tuple[Option, ...]
    positionals: tuple[Positional, ...]
    description: str
    keys: tuple[str, ...]


def commands() -> tuple[Command, ...]:
    """Every command, in the order of the help, after the nameless one."""
    parser = build_parser()
    [subparsers] = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    return (_command("", "", (), parser), *_below("", subparsers))


def _below(prefix: str, subparsers: "argparse._SubParsersAction[Parser]") -> Iterator[Command]:
    """The commands of a parser, with the commands of each command behind it."""
    summaries = {action.dest: action.help or "" for action in subparsers._choices_actions}
    for name, summary in summaries.items():
        parser = subparsers.choices[name]
        aliases = [one for one, other in subparsers.choices.items() if other is parser]
        yield _command(f"{prefix}{name}", summary, tuple(aliases[1:]), parser)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from _below(f"{prefix}{name} ", action)


def _command(name: str, summary: str, aliases: tuple[str, ...], parser: Parser) -> Command:
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    return Command(
        name,
        summary,
        aliases,
        tuple(_option(action) for action in shown if action.option_strings),
        tuple(
            positional
            for action in shown
            if not action.option_strings and not isinstance(action, argparse._SubParsersAction)
            for positional in _positionals(action)
        ),
        parser.description or "",
        parser.keys,
    )


def _option(action: argparse.Action) -> Option:
    value = "" if action.nargs == 0 else _metavar(action)
    return Option(
        tuple(action.option_strings),
        value,
        _words(action),
        action.type is Path or action.metavar == "FILE",
        isinstance(action, argparse._AppendAction) or action.nargs in {"*", "+"},
        _summary(action),
    )


def _positionals(action: argparse.Action) -> Iterator[Positional]:
    yield Positional(
        _metavar(action),
        action.nargs in {"?", "*"},
        action.nargs in {"*", "+"},
        _words(action),
        _summary(action),
    )
    if action.nargs == argparse.PARSER:
        # A command for somebody else follows.
        yield Positional("COMMAND", True, True, (), "")


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.metavar is None and action.choices is not None:
        return "|".join(str(choice) for choice in action.choices)
    return action.metavar or action.dest.upper().replace("_", "-")


def _words(action: argparse.Action) -> tuple[str, ...]:
    if action.choices is not None:
        return tuple(str(choice) for choice in action.choices)
    if isinstance(action.metavar, str) and "|" in action.metavar:
        return tuple(word for word in action.metavar.split("|") if word == word.lower())
    return ()


def _summary(action: argparse.Action) -> str:
    # As argparse expands it: %(default)s and %%.
    return ((action.help or "") % vars(action)).strip()
