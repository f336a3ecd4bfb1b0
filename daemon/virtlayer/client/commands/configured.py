# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands about configured images (virtlayer-images(5))."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from virtlayer.client.bus.answers import StartedJob
from virtlayer.client.bus.caller import Client
from virtlayer.client.bus.failures import remote_error
from virtlayer.client.commands.images import short_digest
from virtlayer.client.common_arguments import add_command
from virtlayer.client.listing import Column, Listing, Row, add_listing, print_listing
from virtlayer.client.output import print_json, print_line, print_table
from virtlayer.client.parser import Commands
from virtlayer.client.results import UPDATED, result_document
from virtlayer.client.times import iso_time, local_time
from virtlayer.client.waiting import finished, started
from virtlayer.sizes import human_size

CONFIGURED = Listing(
    "images are configured. See virtlayer-images(5)",
    (
        Column("name", "NAME", wraps=True),
        Column("pool", "POOL", wraps=True),
        Column("digest", "DIGEST", short_digest),
        Column("checked_at", "CHECKED", lambda time: local_time(time, "never")),
        Column("due_at", "DUE", lambda time: local_time(time, "now")),
        Column("former_versions", "FORMER"),
        Column("source", wraps=True),
        Column("pulled_at", shown=lambda time: local_time(time, "never")),
        Column("file"),
        Column("error"),
        Column("message"),
    ),
    identifier="name",
)


def add_populate(commands: Commands) -> None:
    """Add ``virtlayer populate``."""
    command = add_command(
        commands,
        "populate",
        "update the configured images",
        populate,
        details="In JSON, the key images has an object for each image.",
        keys=UPDATED,
    )
    command.add_argument(
        "--due",
        action="store_true",
        help="only images whose refresh interval is over, or whose last attempt failed",
    )


async def populate(client: Client, arguments: Namespace) -> None:
    """``virtlayer populate``."""
    options = {"due": True} if arguments.due else {}
    job: StartedJob = await started(client, client.start("Populate", "a{sv}", options=options))
    result = await finished(client, job, as_json=arguments.json)
    document = result_document("populate", result)
    images: list[dict[str, Any]] = document["images"]
    failed = [image for image in images if image["outcome"] == "failed"]
    if arguments.json:
        print_json(document)
    elif not images:
        print_line(f"No {CONFIGURED.what}.")
    else:
        _print_updated(images)
    if failed:
        raise remote_error(
            failed[0]["error"],
            f"{len(failed)} of {len(images)} images could not be updated: {failed[0]['message']}",
        )


def _print_updated(images: list[dict[str, Any]]) -> None:
    print_table(
        ("NAME", "POOL", "OUTCOME", "BUILT", "DOWNLOADED", "DELETED"),
        [
            (
                image["name"] or image["file"],
                image["pool"] or "-",
                image["outcome"],
                str(image["layers_built"]),
                human_size(image["bytes_downloaded"]),
                str(len(image["deleted_volumes"])),
            )
            for image in images
        ],
        wrapped=(0, 1),
    )
    _print_messages(images)


def add_status(commands: Commands) -> None:
    """Add ``virtlayer status``."""
    command = add_command(
        commands,
        "status",
        "show the status of configured images",
        status,
        details="DIGEST is that of the image in the pool. CHECKED is when an update was last "
        "tried, and DUE when the refresh interval is over. FORMER counts the former versions that "
        "are kept or in use.",
    )
    add_listing(command, CONFIGURED)


async def status(client: Client, arguments: Namespace) -> None:
    """``virtlayer status``."""
    rows = [_configured_document(image) for image in await client.list_configured()]
    _print_messages(print_listing(arguments, rows))


def _configured_document(image: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": image["name"] or image["file"],
        "pool": image["pool"] or None,
        "source": image["source"] or None,
        "digest": image["digest"] or None,
        "pulled_at": iso_time(image["pulled_at"]),
        "checked_at": iso_time(image["checked_at"]),
        "due_at": iso_time(image["due_at"]),
        "former_versions": image["versions"],
        "file": image["file"],
        "error": image["error"] or None,
        "message": image["message"] or None,
    }


def _print_messages(images: Sequence[Row]) -> None:
    """Print the errors below a table, where there is room for them."""
    for image in images:
        if message := image["message"]:
            name = image["name"] or image["file"]
            # The message about an invalid file names the file.
            print_line(message if message.startswith(name) else f"{name}: {message}")
