# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands about configured images (virtlayer-images(5))."""

import time
from argparse import Namespace
from typing import Any

from virtlayer.client.bus.answers import StartedJob
from virtlayer.client.bus.caller import Client
from virtlayer.client.bus.failures import remote_error
from virtlayer.client.common_arguments import add_command
from virtlayer.client.output import print_json, print_table
from virtlayer.client.parser import Commands
from virtlayer.client.waiting import finished, started
from virtlayer.sizes import human_size


def add_populate(commands: Commands) -> None:
    """Add ``virtlayer populate``."""
    command = add_command(commands, "populate", "update the configured images", populate)
    command.add_argument(
        "--due",
        action="store_true",
        help="only images whose refresh interval is over, or whose last attempt failed",
    )


async def populate(client: Client, arguments: Namespace) -> None:
    """``virtlayer populate``."""
    options = {"due": True} if arguments.due else {}
    job: StartedJob = await started(client, client.start("Populate", "a{sv}", options=options))
    result: dict[str, Any] = await finished(client, job, as_json=arguments.json)
    images = result.get("images", [])
    if arguments.json:
        print_json(result)
    else:
        print_table(
            ("POOL", "NAME", "OUTCOME", "BUILT", "DOWNLOADED", "REMOVED", "MESSAGE"),
            [
                (
                    image["pool"],
                    image["name"] or image["file"],
                    image["outcome"],
                    str(image["layers-built"]),
                    human_size(image["bytes-downloaded"]),
                    str(len(image["removed"])),
                    image["message"],
                )
                for image in images
            ],
        )
    if failed := [image for image in images if image["outcome"] == "failed"]:
        first = failed[0]
        raise remote_error(
            first["error"],
            f"{len(failed)} of {len(images)} images could not be updated: {first['message']}",
        )


def add_status(commands: Commands) -> None:
    """Add ``virtlayer status``."""
    add_command(commands, "status", "show the status of configured images", status)


async def status(client: Client, arguments: Namespace) -> None:
    """``virtlayer status``."""
    images: list[dict[str, Any]] = await client.list_configured()
    if arguments.json:
        print_json(images)
        return
    print_table(
        ("POOL", "NAME", "DIGEST", "CHECKED", "DUE", "OLD", "MESSAGE"),
        [
            (
                image["pool"],
                image["name"] or image["file"],
                image["digest"][:19] or "-",
                _when(image["checked-at"], "never"),
                _when(image["due-at"], "now"),
                str(image["versions"]),
                image["message"],
            )
            for image in images
        ],
    )


def _when(microseconds: int, otherwise: str) -> str:
    if not microseconds:
        return otherwise
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(microseconds / 1_000_000))
