# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer run``: makes a machine of an image, starts it, and stays with its program.

Standard output and standard error are those of the program: nothing else is written there, except
errors, and progress if standard error is a terminal.
"""

import contextlib
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from virtlayer.client.access import absolute_source, access_options, is_source
from virtlayer.client.attached import attached
from virtlayer.client.bus.caller import Client
from virtlayer.client.bus.values import OptionValue
from virtlayer.client.common_arguments import add_command
from virtlayer.client.customizations import customization_options
from virtlayer.client.exits import RUN_FAILED
from virtlayer.client.memory import content_descriptor
from virtlayer.client.output import print_json, print_line, print_warning
from virtlayer.client.parser import Commands
from virtlayer.client.results import DOCUMENTS, result_document
from virtlayer.client.run_arguments import add_run_arguments, machine_options
from virtlayer.client.unreadable import unreadable
from virtlayer.client.waiting import finished, started
from virtlayer.errors import InvalidArgument, VirtlayerError


def add_run(commands: Commands) -> None:
    """Add ``virtlayer run``."""
    command = add_command(
        commands,
        "run",
        "run an image as a machine",
        run,
        details="The exit status is that of the program: 126 if it cannot be executed, 127 if it "
        "is not found, 128+n after signal n. It is 125 if virtlayer fails, or the machine crashes. "
        "Ctrl-] leaves a machine with a terminal, which continues. JSON is printed with --detach "
        "only.",
        keys=DOCUMENTS["create-domain"],
    )
    command.failure = RUN_FAILED
    command.set_defaults(failure=RUN_FAILED)
    add_run_arguments(command)


async def run(client: Client, arguments: Namespace) -> int:
    """``virtlayer run``; the exit status is that of the program."""
    if arguments.pull == "always" and not is_source(arguments.source):
        raise InvalidArgument(
            f'--pull=always requires a source, but "{arguments.source}" is the name of an image of '
            "a pool. Name its source, such as docker://docker.io/library/debian:13."
        )
    created = await _created(client, arguments)
    if sys.stderr.isatty():
        for note in created["notes"]:
            print_warning(note)
    if not arguments.detach:
        return await attached(client, arguments, created)
    if arguments.json:
        print_json(created)
    else:
        print_line(created["name"])
    return 0


async def _created(client: Client, arguments: Namespace) -> dict[str, Any]:
    """Make the machine; return its document. It is started only if nothing must be attached."""
    with _options(arguments) as (options, sent):
        start = client.start(
            "CreateDomain",
            "sssa{sv}",
            arguments.pool,
            absolute_source(arguments.source),
            arguments.name or "",
            options=options,
        )
        job = await started(client, start)
    try:
        result = await finished(client, job, as_json=False, only_on_terminal=True)
    except VirtlayerError:
        sent.check()
        raise
    return result_document("create-domain", result)


@contextlib.contextmanager
def _options(arguments: Namespace) -> Iterator[tuple[dict[str, OptionValue], Any]]:
    with (
        access_options(arguments, is_pulled=is_source(arguments.source)) as (access, sent),
        customization_options(arguments) as changes,
        _user_data(arguments.user_data) as user_data,
    ):
        options = access | changes | machine_options(arguments) | user_data
        options["start"] = bool(arguments.detach)
        if is_source(arguments.source):
            options["pull"] = arguments.pull
        yield options, sent


@contextlib.contextmanager
def _user_data(path: Path | None) -> Iterator[dict[str, OptionValue]]:
    if path is None:
        yield {}
        return
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(f"--user-data {path}", error, InvalidArgument) from error
    with content_descriptor(content) as descriptor:
        yield {"user-data-fd": descriptor}
