# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands about the images in pools."""

import asyncio
import dataclasses
from argparse import Namespace
from typing import Any

from virtlayer.client.bus.answers import ImageSummary
from virtlayer.client.bus.caller import Client
from virtlayer.client.commands.pools import layers_and_size
from virtlayer.client.common_arguments import add_command, add_image, add_pool
from virtlayer.client.output import print_json, print_line, print_table
from virtlayer.client.parser import Commands
from virtlayer.client.waiting import finished, started
from virtlayer.errors import VirtlayerError


def add_images(commands: Commands) -> None:
    """Add ``virtlayer images``."""
    command = add_command(
        commands, "images", "list the images in a pool, or in all", images, aliases=("ls",)
    )
    command.add_argument("pool", metavar="POOL", nargs="?", default="")


async def images(client: Client, arguments: Namespace) -> None:
    """``virtlayer images``."""
    listed = await client.list_images(arguments.pool)
    details = await asyncio.gather(*(_details(client, image) for image in listed))
    if arguments.json:
        print_json([_image_fields(*one) for one in zip(listed, details, strict=True)])
        return
    print_table(
        ("POOL", "NAME", "DIGEST", "SIGNATURES", "SOURCE"),
        [
            (
                image.pool,
                image.name,
                image.digest[:19],
                "not required" if shown.get("UnsignedAccepted", True) else "required",
                image.source,
            )
            for image, shown in zip(listed, details, strict=True)
        ],
    )


def add_remove(commands: Commands) -> None:
    """Add ``virtlayer remove``."""
    command = add_command(
        commands,
        "remove",
        "remove an image, with the layers that only it needs",
        remove,
        aliases=("rmi",),
    )
    add_image(command)
    add_pool(command)


async def remove(client: Client, arguments: Namespace) -> None:
    """``virtlayer remove``."""
    start = client.start("RemoveImage", "ssa{sv}", arguments.pool, arguments.image)
    freed = await finished(client, await started(client, start), as_json=arguments.json)
    if arguments.json:
        print_json(freed)
    elif freed["volumes"]:
        print_line(f"Removed {arguments.image}, and deleted {layers_and_size(freed)}.")
    else:
        print_line(
            f"Removed {arguments.image}. Its layers are kept: other images or volumes use them."
        )


async def _details(client: Client, image: ImageSummary) -> dict[str, Any]:
    """The properties of an image; none if it was removed meanwhile."""
    try:
        return await client.image(image.path)
    except VirtlayerError:
        return {}


def _image_fields(image: ImageSummary, shown: dict[str, Any]) -> dict[str, object]:
    """An image for programs; a daemon may be older than this command."""
    return dataclasses.asdict(image) | {
        "policy-scope": shown.get("PolicyScope", ""),
        "unsigned-accepted": shown.get("UnsignedAccepted", True),
    }
