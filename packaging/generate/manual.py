# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the manual pages that follow from the code, in mdoc(7).

``manual.py command TEMPLATE`` fills the commands and exit statuses into virtlayer(1);
``manual.py interface FILE…`` makes org.virtlayer1(5) from the canonical D-Bus interfaces.
"""

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from commandline import Command, Option, commands

from virtlayer.client.exits import MEANINGS
from virtlayer.client.keys import KEYS

_TAGS = {"interface", "method", "signal", "property"}
_DATE = "November 24, 2026"


def command_page(template: str) -> str:
    """Fill a template: ``.COMMANDS`` and others in capitals stand for what the code says."""
    everything = commands()
    described = [line for one in everything[1:] for line in _command(one)]
    statuses = [f".It {int(status)}\n{_escaped(text)}" for status, text in MEANINGS.items()]
    common = [line for option in everything[0].options for line in _option(option)]
    keys = [line for key, text in KEYS.items() for line in (f".It Li {key}", _escaped(text))]
    for placeholder, lines in (
        (".OPTIONS", common),
        (".COMMANDS", described),
        (".KEYS", keys),
        (".EXIT_STATUSES", statuses),
    ):
        template = template.replace(f"{placeholder}\n", "\n".join(lines) + "\n")
    return template


def _command(command: Command) -> Iterator[str]:
    everywhere = {option.names for option in commands()[0].options}
    own = [option for option in command.options if option.names not in everywhere]
    names = (command.name, *command.aliases)
    yield f".Ss {', '.join(names)}"
    yield f".Nm virtlayer Cm {command.name}"
    if own:
        yield ".Op Ar option ..."
    for one in command.positionals:
        name = f"{one.name} ..." if one.is_list else one.name
        yield f".Op Ar {name}" if one.is_optional else f".Ar {name}"
    yield ".Pp"
    yield from _sentences(command.description)
    described = [one for one in command.positionals if one.summary]
    if own or described:
        yield ".Bl -tag -width Ds"
        for positional in described:
            yield f".It Ar {positional.name}"
            yield from _sentences(positional.summary)
        for option in own:
            yield from _option(option)
        yield ".El"
    if command.keys:
        yield ".Pp"
        yield from _sentences(f"Keys: {', '.join(command.keys)}.")


def _option(option: Option) -> Iterator[str]:
    flags = " , ".join(f"Fl {_escaped(name.removeprefix('-'))}" for name in option.names)
    yield f".It {flags}" + (f" Ar {_escaped(option.value)}" if option.value else "")
    yield from _sentences(option.summary)


def interface_page(paths: Iterable[Path]) -> str:
    """Make a page of introspection files whose comments describe what follows them."""
    lines = [
        '.\\" SPDX-License-Identifier: LGPL-2.1-or-later',
        f".Dd {_DATE}",
        ".Dt ORG.VIRTLAYER1 5",
        ".Os",
        ".Sh NAME",
        ".Nm org.virtlayer1",
        ".Nd the D-Bus interface of virtlayerd",
        ".Sh DESCRIPTION",
        ".Xr virtlayerd 8",
        "serves the name",
        ".Li org.virtlayer1",
        "on the system bus, for the pools of",
        ".Li qemu:///system ,",
        "and on the session bus of each user, for those of",
        ".Li qemu:///session .",
        "The first call starts it.",
        "Signatures are written as the D-Bus specification has them.",
    ]
    interfaces = [node for path in paths for node in _interfaces(path)]
    # The root object first.
    for comment, interface in sorted(
        interfaces, key=lambda pair: "Manager" not in pair[1].get("name", "")
    ):
        lines += [f".Sh {interface.get('name', '').upper()}", *_prose(comment)]
        for heading, kind in (
            ("Methods", "method"),
            ("Signals", "signal"),
            ("Properties", "property"),
        ):
            members = [pair for pair in _commented(interface) if pair[1].tag == kind]
            if members:
                lines.append(f".Ss {heading}")
                lines.append(".Bl -tag -width Ds")
                for text, member in members:
                    lines += [f".It {_signature(member)}", *_prose(text)]
                lines.append(".El")
    lines += [".Sh SEE ALSO", ".Xr busctl 1 ,", ".Xr virtlayer 1 ,", ".Xr virtlayerd 8"]
    return "\n".join(lines) + "\n"


def _interfaces(path: Path) -> Iterator[tuple[str, ElementTree.Element]]:
    builder = ElementTree.TreeBuilder(insert_comments=True)
    parser = ElementTree.XMLParser(target=builder)  # noqa: S314 -- our own file
    yield from _commented(ElementTree.parse(path, parser).getroot())  # noqa: S314


def _commented(parent: ElementTree.Element) -> Iterator[tuple[str, ElementTree.Element]]:
    """The elements below another, each with the comment before it."""
    comment = ""
    for child in parent:
        if child.tag in _TAGS:
            yield comment, child
            comment = ""
        else:
            comment = child.text or ""


def _signature(member: ElementTree.Element) -> str:
    name = f"Sy \\&{member.get('name')}"  # \\& because some are called as macros are
    if member.tag == "property":
        return f"{name} No {_escaped(member.get('type', ''))}"
    parts = [name, "No ("]
    arguments = [child for child in member if child.tag == "arg"]
    for direction in ("in", "out"):
        named = [
            f"{_escaped(one.get('type', ''))} {one.get('name')}"
            for one in arguments
            if one.get("direction", "in") == direction
        ]
        if direction == "out":
            parts.append(")")
            if named:
                parts.append("\\(-> (" + ", ".join(named) + ")")
        else:
            parts[-1] += ", ".join(named)
    return " ".join(parts).replace(" )", ")")


def _prose(comment: str) -> Iterator[str]:
    """A comment as running text; a paragraph with indented lines stays as it is written."""
    separator = ""
    for lines in _paragraphs(comment):
        if any(line.startswith(" ") for line in lines):
            yield ".Bd -unfilled"
            yield from (_escaped(line) for line in lines)
            yield ".Ed"
            separator = ""
        else:
            if separator:
                yield separator
            yield from _sentences(" ".join(lines))
            separator = ".Pp"


def _paragraphs(comment: str) -> Iterator[list[str]]:
    lines = [line.rstrip() for line in comment.strip("\n").splitlines()]
    margin = min((len(line) - len(line.lstrip()) for line in lines[1:] if line), default=0)
    # A comment may begin on the line of its opening mark.
    text = "\n".join([lines[0].strip() if lines else "", *(line[margin:] for line in lines[1:])])
    # "Name: what it is" begins every comment; the name is the heading here.
    text = re.sub(r"^[\w.]+: ", "", text.strip("\n"))
    for paragraph in re.split(r"\n{2,}", text):
        if paragraph:
            yield paragraph.splitlines()


def _sentences(text: str) -> Iterator[str]:
    """Text with every sentence on lines of its own, as mdoc requires for spacing."""
    for sentence in re.split(r'(?<=[.?!]) (?=[A-Z"])', text):
        yield from map(_escaped, textwrap.wrap(sentence, 78, break_long_words=False))


def _escaped(text: str) -> str:
    """A line that roff reads as plain text."""
    text = text.replace("\\", "\\e").replace('"', "\\(dq")
    text = re.sub(r"(?<!\w)-(?=[\w-])", r"\\-", text)
    return re.sub(r"^(?=[.'])", r"\\&", text)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["command", path]:
            sys.stdout.write(command_page(Path(path).read_text(encoding="utf-8")))
        case ["interface", *paths]:
            sys.stdout.write(interface_page(map(Path, paths)))
        case _:
            raise SystemExit(__doc__)
