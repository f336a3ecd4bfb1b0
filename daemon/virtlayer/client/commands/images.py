# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands about the images in pools."""

import contextlib
from argparse import Namespace
from collections.abc import Collection
from typing import Any

from virtlayer.client.bus.answers import ImageDetails, ImageSize
from virtlayer.client.bus.caller import Client
from virtlayer.client.commands.pools import layers_and_size
from virtlayer.client.common_arguments import add_command, add_image, add_pool
from virtlayer.client.listing import Column, Listing, add_listing, print_listing
from virtlayer.client.output import print_json, print_line
from virtlayer.client.parser import Commands
from virtlayer.client.results import DOCUMENTS, result_document
from virtlayer.client.times import age, iso_time
from virtlayer.client.waiting import finished, started
from virtlayer.errors import ImageNotFound, PoolInactive, PoolNotFound, PoolUnavailable
from virtlayer.sizes import human_size

_DIGEST_SHOWN = 12
"""Digits of a digest in a table, as podman shows them."""


def short_digest(digest: str | None) -> str:
    """Return the first digits of a digest, for a table; "-" if it is private."""
    return digest.partition(":")[2][:_DIGEST_SHOWN] if digest else "-"


def size_or_dash(size: int | None) -> str:
    """Return a size for a table; "-" if it is unknown."""
    return "-" if size is None else human_size(size)


IMAGES = Listing(
    "images",
    (
        Column("name", "NAME", wraps=True),
        Column("pool", "POOL", wraps=True),
        Column("digest", "DIGEST", short_digest),
        Column("architecture", "ARCH"),
        Column("size", "SIZE", size_or_dash),
        Column("shared_size", "SHARED", size_or_dash),
        Column("pulled_at", "AGE", age),
        Column("own_size", shown=size_or_dash),
        Column("source", wraps=True),
        Column("image_id"),
        Column("os"),
        Column("volume"),
        Column("virtual_size", shown=human_size),
        Column("policy_scope"),
        Column("unsigned_accepted"),
        Column("former_versions"),
        Column("broken"),
        Column("object"),
    ),
    identifier="name",
)


def add_images(commands: Commands) -> None:
    """Add ``virtlayer images``."""
    command = add_command(
        commands,
        "images",
        "list the images in a pool, or in all",
        images,
        details="SIZE is what the layers take of the pool, and SHARED the part of it that other "
        "images have, too. AGE is the time since the image was last pulled. What is wrong with "
        "images that lack layers follows the table.",
        aliases=("ls",),
    )
    command.add_argument("pool", metavar="POOL", nargs="?", default="")
    add_listing(command, IMAGES)


async def images(client: Client, arguments: Namespace) -> None:
    """``virtlayer images``."""
    listed = await client.list_images(arguments.pool)
    details = await client.images([image.path for image in listed])
    sizes = await _sizes(client, {image.pool for image in details})
    rows = [
        image_document(image) | _size_keys(sizes.get((image.pool, image.name))) for image in details
    ]
    for row in print_listing(arguments, rows):
        if row["broken"]:
            print_line(row["broken"])


async def _sizes(client: Client, pools: Collection[str]) -> dict[tuple[str, str], ImageSize]:
    """Return the sizes of images by pool and name, for all pools that can be read."""
    sizes: dict[tuple[str, str], ImageSize] = {}
    for pool in pools:
        # Images of a pool that is not active are listed, too.
        with contextlib.suppress(PoolInactive, PoolNotFound, PoolUnavailable):
            usage = await client.disk_usage(pool)
            sizes |= {(pool, name): size for name, size in usage.images.items()}
    return sizes


def _size_keys(size: ImageSize | None) -> dict[str, int | None]:
    return {
        "size": size.own + size.shared if size else None,
        "own_size": size.own if size else None,
        "shared_size": size.shared if size else None,
    }


def add_tag(commands: Commands) -> None:
    """Add ``virtlayer tag``."""
    command = add_command(
        commands,
        "tag",
        "give an image another name in its pool",
        tag,
        keys=("name", "image", "pool"),
    )
    add_image(command)
    command.add_argument("name", metavar="NAME", help="the other name")
    add_pool(command)
    command.add_argument(
        "--replace",
        action="store_true",
        help="take the name from another image that has it",
    )


async def tag(client: Client, arguments: Namespace) -> None:
    """``virtlayer tag``."""
    image, name, pool = arguments.image, arguments.name, arguments.pool
    await client.tag(pool, image, name, {"replace": True} if arguments.replace else {})
    if arguments.json:
        print_json({"name": name, "image": image, "pool": pool})
    else:
        print_line(f"{name}: another name of {image}")


async def find_image(client: Client, name: str, pool: str) -> ImageDetails | None:
    """Return an image in a pool; None if there is none of this name."""
    paths = [image.path for image in await client.list_images(pool) if image.name == name]
    found = await client.images(paths)
    return found[0] if found else None


async def existing_image(client: Client, name: str, pool: str) -> ImageDetails:
    """Return an image in a pool.

    Raises:
        ImageNotFound: There is no image of this name.
    """
    image = await find_image(client, name, pool)
    if image is None:
        raise ImageNotFound(
            f'The pool "{pool}" has no image "{name}". "virtlayer images" lists the images.'
        )
    return image


def image_document(image: ImageDetails) -> dict[str, Any]:
    """Return an image for programs; private values are null for other users."""
    return {
        "name": image.name,
        "pool": image.pool,
        "source": image.source or None,
        "digest": image.digest or None,
        "image_id": image.image_id or None,
        "os": image.os,
        "architecture": image.architecture,
        "volume": image.volume,
        "virtual_size": image.size,
        "pulled_at": iso_time(image.pulled_at),
        "policy_scope": image.policy_scope or None,
        "unsigned_accepted": image.unsigned_accepted,
        "former_versions": len(image.former_versions),
        "broken": image.broken or None,
        "object": image.path,
    }


def add_remove(commands: Commands) -> None:
    """Add ``virtlayer remove``."""
    command = add_command(
        commands,
        "remove",
        "remove an image, with the layers that only it needs",
        remove,
        aliases=("rmi",),
        keys=DOCUMENTS["remove"],
    )
    add_image(command)
    add_pool(command)


async def remove(client: Client, arguments: Namespace) -> None:
    """``virtlayer remove``."""
    start = client.start("RemoveImage", "ssa{sv}", arguments.pool, arguments.image)
    result = await finished(client, await started(client, start), as_json=arguments.json)
    document = result_document("remove", result)
    if arguments.json:
        print_json(document)
    elif document["deleted_volumes"]:
        print_line(f"Removed {arguments.image}, and deleted {layers_and_size(document)}.")
    else:
        print_line(
            f"Removed {arguments.image}. Its layers are kept: other images or volumes use them."
        )
