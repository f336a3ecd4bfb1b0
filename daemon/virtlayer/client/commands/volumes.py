# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands about volumes that virtlayer has made."""

from argparse import Namespace

from virtlayer.client.bus.caller import Client
from virtlayer.client.commands.pools import wanted_pools
from virtlayer.client.common_arguments import add_command, add_image, add_pool
from virtlayer.client.customizations import add_customizations, customization_options
from virtlayer.client.listing import Column, Listing, add_listing, print_listing
from virtlayer.client.output import print_json, print_line
from virtlayer.client.parser import Commands
from virtlayer.client.results import DOCUMENTS, result_document
from virtlayer.client.values import virtual_size
from virtlayer.client.waiting import finished, started
from virtlayer.sizes import human_size


def add_create_volume(commands: Commands) -> None:
    """Add ``virtlayer create-volume``."""
    command = add_command(
        commands,
        "create-volume",
        "create a writable volume on an image",
        create_volume,
        keys=DOCUMENTS["create-volume"],
    )
    add_image(command)
    command.add_argument("volume", metavar="NAME", help="the name of the volume")
    add_pool(command)
    command.add_argument(
        "--size",
        type=virtual_size,
        help="virtual size, with a unit, such as 40G (default: the image's)",
    )
    add_customizations(command)


async def create_volume(client: Client, arguments: Namespace) -> None:
    """``virtlayer create-volume``."""
    with customization_options(arguments) as options:
        if arguments.size:
            options["size"] = arguments.size
        start = client.start(
            "CreateVolume",
            "sssa{sv}",
            arguments.pool,
            arguments.image,
            arguments.volume,
            options=options,
        )
        job = await started(client, start)
    result = await finished(client, job, as_json=arguments.json)
    document = result_document("create-volume", result)
    if arguments.json:
        print_json({"image": arguments.image} | document)
    else:
        print_line(f"{document['volume']}: {document['path']} (volume created)")


_MADE_OF_IMAGES = ("volume", "directory", "disk")

VOLUMES = Listing(
    "volumes",
    (
        Column("name", "NAME", wraps=True),
        Column("pool", "POOL", wraps=True),
        Column("kind", "KIND"),
        Column("format", "FORMAT"),
        Column("size", "SIZE", lambda size: human_size(size) if size else "-"),
        Column("image", "IMAGE", lambda image: image or "-", wraps=True),
    ),
    identifier="name",
)


def add_volumes(commands: Commands) -> None:
    """Add ``virtlayer volumes``."""
    command = add_command(
        commands,
        "volumes",
        "list the volumes and directories that were made of images",
        volumes,
        details="SIZE is what a volume takes of the pool; files in directories are not counted.",
    )
    command.add_argument("pool", metavar="POOL", nargs="?", default="", help="(default: all)")
    command.add_argument(
        "-a", "--all", action="store_true", help="list layers and boot volumes as well"
    )
    add_listing(command, VOLUMES)


async def volumes(client: Client, arguments: Namespace) -> None:
    """``virtlayer volumes``."""
    rows = [
        {
            "name": one.name,
            "pool": pool,
            "kind": one.kind,
            "format": one.format,
            "size": one.size,
            "image": one.image or None,
        }
        for pool in await wanted_pools(client, arguments.pool)
        for one in await client.list_volumes(pool)
        if arguments.all or one.kind in _MADE_OF_IMAGES
    ]
    print_listing(arguments, rows)


def add_remove_volume(commands: Commands) -> None:
    """Add ``virtlayer remove-volume``."""
    command = add_command(
        commands,
        "remove-volume",
        "remove a volume or directory that was made of an image",
        remove_volume,
        keys=DOCUMENTS["remove-volume"],
    )
    command.add_argument("volume", metavar="VOLUME", help='its name, from "virtlayer volumes"')
    add_pool(command)


async def remove_volume(client: Client, arguments: Namespace) -> None:
    """``virtlayer remove-volume``."""
    start = client.start("RemoveVolume", "ssa{sv}", arguments.pool, arguments.volume)
    result = await finished(client, await started(client, start), as_json=arguments.json)
    document = result_document("remove-volume", result)
    if arguments.json:
        print_json(document)
    else:
        print_line(f"Removed {arguments.volume}.")
