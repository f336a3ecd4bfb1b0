# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer inspect``: the answer of Inspect, for people and for programs."""

import json
from argparse import Namespace
from typing import Any

from virtlayer.client.access import absolute_source, access_options
from virtlayer.client.bus.caller import Client
from virtlayer.client.common_arguments import add_access, add_command
from virtlayer.client.output import print_fields, print_json
from virtlayer.client.parser import Commands
from virtlayer.errors import VirtlayerError
from virtlayer.sizes import human_size


def add_inspect(commands: Commands) -> None:
    """Add ``virtlayer inspect``."""
    command = add_command(
        commands, "inspect", "show details of an image without pulling it", inspect
    )
    command.add_argument("source", metavar="SOURCE")
    add_access(command)


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


def print_inspection(inspection: dict[str, Any], *, as_json: bool) -> None:
    """Print what an image is; for people, without its config.

    Args:
        inspection: As the daemon answers it.
        as_json: With the layers as objects, and the config as JSON rather than in a string.
    """
    if as_json:
        layers = [
            {"digest": digest, "diff-id": diff_id, "size": size}
            for digest, diff_id, size in inspection["layers"]
        ]
        print_json(inspection | {"layers": layers, "config": json.loads(inspection["config"])})
        return
    is_disk = inspection.get("container-disk", False)  # a daemon may be older
    blobs = [f"{digest}  {human_size(size)}" for digest, _, size in inspection["layers"]]
    print_fields(
        [
            ("reference", inspection["reference"]),
            ("digest", inspection["digest"]),
            ("image id", inspection["image-id"]),
            ("platform", f"{inspection['os']}/{inspection['architecture']}"),
            *_below_one_another("available for", inspection["platforms"]),
            *_below_one_another("layers", blobs),
            ("size", f"{human_size(inspection['size'])}, compressed"),
            *_signatures(inspection),
            *([("disk", "a machine's; pull it with --format=disk")] if is_disk else []),
        ]
    )


def _signatures(inspection: dict[str, Any]) -> list[tuple[str, str]]:
    scope = inspection.get("policy-scope")  # a daemon may be older
    if not scope:
        return []
    what = "not required" if inspection["unsigned-accepted"] else "required"
    return [("signatures", f"{what} by the policy for {scope}")]


def _below_one_another(name: str, values: list[str]) -> list[tuple[str, str]]:
    return [(name if index == 0 else "", value) for index, value in enumerate(values)]
