# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands that keep pools tidy and fresh: remove, prune, populate, status, rescan."""

import time
from argparse import Namespace
from typing import Any

from virtlayer.client.bus.answers import StartedJob
from virtlayer.client.bus.caller import Client
from virtlayer.client.bus.failures import remote_error
from virtlayer.client.output import print_fields, print_json, print_line, print_table
from virtlayer.client.waiting import finished, started
from virtlayer.sizes import human_size


async def remove(client: Client, arguments: Namespace) -> None:
    """``virtlayer remove``."""
    start = client.start("RemoveImage", "ssa{sv}", arguments.pool, arguments.image)
    freed = await finished(client, await started(client, start), as_json=arguments.json)
    if arguments.json:
        print_json(freed)
    else:
        print_line(f"{arguments.image}: removed, {_freed(freed)}")


async def prune(client: Client, arguments: Namespace) -> None:
    """``virtlayer prune``."""
    options = {"dry-run": True} if arguments.dry_run else {}
    start = client.start("Prune", "sa{sv}", arguments.pool, options=options)
    freed: dict[str, Any] = await finished(
        client, await started(client, start), as_json=arguments.json
    )
    if arguments.json:
        print_json(freed)
        return
    for volume in freed["volumes"]:
        print_line(volume)
    print_line(f"{'would be freed' if arguments.dry_run else 'done'}: {_freed(freed)}")


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


async def rescan(client: Client, arguments: Namespace) -> None:
    """``virtlayer rescan``."""
    start = client.start("Rescan", "sa{sv}", arguments.pool)
    found: dict[str, Any] = await finished(
        client, await started(client, start), as_json=arguments.json
    )
    if arguments.json:
        print_json(found)
        return
    print_fields(
        [
            ("layers found", str(len(found["found"]))),
            ("layers lost", str(len(found["lost"]))),
            ("images lost", ", ".join(found["images-lost"]) or "none"),
            ("layers of no image", str(found["orphans"])),
        ]
    )
    if found["orphans"]:
        print_line("Pull the images that they belong to, which downloads nothing that is there.")


def _freed(freed: dict[str, Any]) -> str:
    return f"{len(freed['volumes'])} layer volumes, {human_size(freed['bytes'])}"


def _when(microseconds: int, otherwise: str) -> str:
    if not microseconds:
        return otherwise
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(microseconds / 1_000_000))
