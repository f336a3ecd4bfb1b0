# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands of virtlayer: what each asks of virtlayerd, and what it prints."""

import asyncio
import dataclasses
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import Any

from virtlayer.client.access import absolute_source, access_options
from virtlayer.client.bus.answers import ImageSummary, StartedJob
from virtlayer.client.bus.caller import Client
from virtlayer.client.bus.values import OptionValue
from virtlayer.client.inspection import print_inspection
from virtlayer.client.output import print_json, print_line, print_table
from virtlayer.client.upkeep import populate, prune, remove, rescan, status
from virtlayer.client.volumes import create_volume, customization_options
from virtlayer.client.waiting import finished, started
from virtlayer.client.xml import xml
from virtlayer.errors import VirtlayerError


async def pull(client: Client, arguments: Namespace) -> None:
    """``virtlayer pull``."""
    source = absolute_source(arguments.source)
    with access_options(arguments) as (access, sent), customization_options(arguments) as changes:
        options = access | changes | _pull_options(arguments)
        job = await started(client, client.pull(source, arguments.pool, options))
    if not arguments.wait:
        _print_started(job, as_json=arguments.json)
        await sent.finished()
        return
    try:
        result = await finished(client, job, as_json=arguments.json)
    except VirtlayerError:
        sent.check()
        raise
    if arguments.json:
        print_json(result)
    else:
        print_line(_pulled(result))


async def inspect(client: Client, arguments: Namespace) -> None:
    """``virtlayer inspect``."""
    with access_options(arguments) as (options, sent):
        inspecting = client.inspect(absolute_source(arguments.source), options)
        try:
            inspection = await inspecting
        except VirtlayerError:
            sent.check()
            raise
    print_inspection(inspection, as_json=arguments.json)


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


async def jobs(client: Client, arguments: Namespace) -> None:
    """``virtlayer jobs``."""
    listed = await client.list_jobs()
    if arguments.json:
        print_json([dataclasses.asdict(job) for job in listed])
    else:
        print_table(
            ("ID", "KIND", "STATE", "PROGRESS", "SOURCE"),
            [
                (str(job.id), job.kind, job.state, f"{job.progress:.0%}", job.source)
                for job in listed
            ],
        )


async def cancel(client: Client, arguments: Namespace) -> None:
    """``virtlayer cancel``."""
    await client.cancel(arguments.id)
    if arguments.json:
        print_json({"id": arguments.id})


COMMANDS: dict[str, Callable[[Client, Namespace], Awaitable[None]]] = {
    "pull": pull,
    "create-volume": create_volume,
    "inspect": inspect,
    "images": images,
    "jobs": jobs,
    "cancel": cancel,
    "remove": remove,
    "prune": prune,
    "populate": populate,
    "status": status,
    "rescan": rescan,
    "xml": xml,
}


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


def _pull_options(arguments: Namespace) -> dict[str, OptionValue]:
    options: dict[str, OptionValue] = {}
    if arguments.name:
        options["name"] = arguments.name
    if arguments.format != "qcow2":
        options["format"] = arguments.format
    if arguments.id_map is not None:
        options["id-map"] = arguments.id_map
    if arguments.size:
        options["size"] = arguments.size
    if not arguments.cache:
        options["cache"] = False
    if arguments.replace:
        options["replace"] = True
    if arguments.volume is not None:
        options["volume"] = arguments.volume
    if arguments.volume_size:
        options["volume-size"] = arguments.volume_size
    return options


def _print_started(job: StartedJob, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": job.id, "path": job.path})
    else:
        print_line(f"{job.id}")


def _pulled(result: dict[str, object]) -> str:
    if "format" in result:
        return f"{result['name']}: {result['path']} ({result['format']}{_left_out(result)})"
    built, reused = result["layers-built"], result["layers-reused"]
    what = f"{built} layers built, {reused} reused" if built else "up to date, nothing was built"
    return f"{result['name']}: {result['path']} ({what})"


def _left_out(result: dict[str, object]) -> str:
    """What a directory lacks of the image."""
    parts = []
    if result.get("squashed"):
        parts.append("; everything in it is yours, and no program runs with its owner's rights")
    for key, what in (("devices", "devices"), ("attributes", "extended attributes")):
        if result.get(f"skipped-{key}"):
            parts.append(f"; {result[f'skipped-{key}']} {what} left out")
    return "".join(parts)
