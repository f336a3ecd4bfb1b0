# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands about whole pools: df, prune and rescan."""

from argparse import Namespace
from typing import Any

from virtlayer.client.bus.answers import DiskUsage
from virtlayer.client.bus.caller import Client
from virtlayer.client.common_arguments import add_command, add_pool
from virtlayer.client.listing import Column, Listing, add_listing, print_listing
from virtlayer.client.output import print_fields, print_json, print_line
from virtlayer.client.parser import Commands
from virtlayer.client.results import DOCUMENTS, result_document
from virtlayer.client.waiting import finished, started
from virtlayer.protocol.pools import CHAIN_KINDS
from virtlayer.sizes import human_size


def _size(size: int | None) -> str:
    """A size that is unknown if the cluster of a pool does not tell it."""
    return "-" if size is None else human_size(size)


USAGE = Listing(
    "pools can have images",
    (
        Column("pool", "POOL", wraps=True),
        Column("layers_size", "LAYERS", human_size),
        Column("shared_size", "SHARED", human_size),
        Column("prunable_size", "PRUNABLE", human_size),
        Column("volumes_size", "VOLUMES", human_size),
        Column("available", "AVAILABLE", _size),
        Column("capacity", "CAPACITY", _size),
        Column("layer_count"),
        Column("prunable_count"),
        Column("boot_volume_count"),
        Column("boot_volumes_size"),
        Column("volume_count"),
    ),
    identifier="pool",
)


def add_df(commands: Commands) -> None:
    """Add ``virtlayer df``."""
    command = add_command(
        commands,
        "df",
        "show what images and volumes take of a pool, or of all",
        df,
        details="LAYERS is what the layers of images take, SHARED the part that several images "
        "have, and PRUNABLE the part that no image and no volume of the pool needs. VOLUMES is "
        "what volumes and disks take that were made of images.",
    )
    command.add_argument("pool", metavar="POOL", nargs="?", default="", help="(default: all)")
    add_listing(command, USAGE)


async def df(client: Client, arguments: Namespace) -> None:
    """``virtlayer df``."""
    pools = await wanted_pools(client, arguments.pool)
    print_listing(arguments, [_usage_row(pool, await client.disk_usage(pool)) for pool in pools])


async def wanted_pools(client: Client, name: str) -> list[str]:
    """Return a pool, or for "" all active pools that can have images."""
    if name:
        return [name]
    pools = await client.list_pools()
    return [pool.name for pool in pools if pool.state == "running" and pool.kind in CHAIN_KINDS]


def _usage_row(pool: str, usage: DiskUsage) -> dict[str, Any]:
    return {
        "pool": pool,
        "layers_size": usage.layers_bytes,
        "shared_size": usage.shared_bytes,
        "prunable_size": usage.prunable_bytes,
        "volumes_size": usage.volumes_bytes,
        "available": usage.available if usage.capacity else None,
        "capacity": usage.capacity or None,
        "layer_count": usage.layers,
        "prunable_count": usage.prunable_layers,
        "volume_count": usage.volumes,
        "boot_volumes_size": usage.boot_volumes_bytes,
        "boot_volume_count": usage.boot_volumes,
    }


def add_prune(commands: Commands) -> None:
    """Add ``virtlayer prune``."""
    command = add_command(
        commands,
        "prune",
        "delete the layers and boot volumes in a pool that nothing needs",
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
        print_line("Nothing to delete: images, volumes and machines use everything.")
        return
    count = len(freed["deleted_volumes"])
    print_line(
        f"{'Would delete' if arguments.dry_run else 'Deleted'} {count} "
        f"{'volume' if count == 1 else 'volumes'}, {human_size(freed['bytes_freed'])}."
    )


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
        print_line(
            "Pull the images of these layers again, which reuses them, or delete these layers "
            'with "virtlayer prune".'
        )


def layers_and_size(freed: dict[str, Any]) -> str:
    """Return the text about the volumes that were deleted by a removal or prune."""
    count = len(freed["deleted_volumes"])
    return (
        f"{count} layer {'volume' if count == 1 else 'volumes'}, {human_size(freed['bytes_freed'])}"
    )
