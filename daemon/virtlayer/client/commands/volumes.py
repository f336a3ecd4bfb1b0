# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands about volumes."""

from argparse import Namespace

from virtlayer.client.bus.caller import Client
from virtlayer.client.common_arguments import add_command, add_image, add_pool
from virtlayer.client.customizations import add_customizations, customization_options
from virtlayer.client.output import print_json, print_line
from virtlayer.client.parser import Commands
from virtlayer.client.results import DOCUMENTS, result_document
from virtlayer.client.values import virtual_size
from virtlayer.client.waiting import finished, started


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
    command.add_argument("volume", metavar="VOLUME", help="the name of the volume")
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
