# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands about a whole pool: ``virtlayer prune`` and ``virtlayer rescan``."""

from argparse import Namespace
from typing import Any

from virtlayer.client.bus.caller import Client
from virtlayer.client.common_arguments import add_command, add_pool
from virtlayer.client.output import print_fields, print_json, print_line
from virtlayer.client.parser import Commands
from virtlayer.client.results import DOCUMENTS, result_document
from virtlayer.client.waiting import finished, started
from virtlayer.sizes import human_size


def add_prune(commands: Commands) -> None:
    """Add ``virtlayer prune``."""
    command = add_command(
        commands,
        "prune",
        "delete the layers in a pool that nothing needs",
        prune,
        keys=DOCUMENTS["prune"],
    )
    add_pool(command)
    command.add_argument("--dry-run", action="store_true", help="only show what would be deleted")


async def prune(client: Client, arguments: Namespace) -> None:
    """``virtlayer prune``."""
    options = {"dry-run": True} if arguments.dry_run else {}
    start = client.start("Prune", "sa{sv}", arguments.pool, options=options)
    result = await finished(client, await started(client, start), as_json=arguments.json)
    freed = result_document("prune", result)
    if arguments.json:
        print_json(freed)
        return
    for volume in freed["deleted_volumes"]:
        print_line(volume)
    if not freed["deleted_volumes"]:
        print_line("Nothing to delete: images and volumes use all layers.")
        return
    print_line(f"{'Would delete' if arguments.dry_run else 'Deleted'} {layers_and_size(freed)}.")


def add_rescan(commands: Commands) -> None:
    """Add ``virtlayer rescan``."""
    command = add_command(
        commands,
        "rescan",
        "update the catalog from the contents of a pool",
        rescan,
        keys=DOCUMENTS["rescan"],
    )
    add_pool(command)


async def rescan(client: Client, arguments: Namespace) -> None:
    """``virtlayer rescan``."""
    start = client.start("Rescan", "sa{sv}", arguments.pool)
    result = await finished(client, await started(client, start), as_json=arguments.json)
    found = result_document("rescan", result)
    if arguments.json:
        print_json(found)
        return
    print_fields(
        [
            ("layers found", str(len(found["layers_found"]))),
            ("layers lost", str(len(found["layers_lost"]))),
            ("images lost", ", ".join(found["images_lost"]) or "none"),
            ("unreferenced layers", str(found["unreferenced_layers"])),
        ]
    )
    if found["unreferenced_layers"]:
        print_line("Pull the images of these layers again. Layers that the pool has are reused.")


def layers_and_size(freed: dict[str, Any]) -> str:
    """What a removal or a prune has deleted."""
    count = len(freed["deleted_volumes"])
    return (
        f"{count} layer {'volume' if count == 1 else 'volumes'}, {human_size(freed['bytes_freed'])}"
    )
