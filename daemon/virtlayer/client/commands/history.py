# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer history``: the steps of the build of an image in a pool."""

import json
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from virtlayer.client.bus.answers import Layer
from virtlayer.client.bus.caller import Client
from virtlayer.client.commands.images import existing_image
from virtlayer.client.common_arguments import add_command, add_image, add_pool
from virtlayer.client.listing import Column, Listing, add_listing, print_listing
from virtlayer.client.parser import Commands
from virtlayer.client.times import age, iso_time
from virtlayer.sizes import human_size

HISTORY = Listing(
    "steps are recorded in the image",
    (
        Column("created_at", "AGE", age),
        Column("compressed_size", "COMPRESSED", human_size),
        Column("created_by", "CREATED BY", lambda command: command or "-", wraps=True),
        Column("comment", "COMMENT", lambda comment: comment or "-", wraps=True),
        Column("volume"),
        Column("diff_id"),
    ),
    identifier="volume",
)


def add_history(commands: Commands) -> None:
    """Add ``virtlayer history``."""
    command = add_command(
        commands,
        "history",
        "show how an image in a pool was built, the last step first",
        history,
        details="COMPRESSED is the size of the layer that the step made, as the source has it.",
    )
    add_image(command)
    add_pool(command)
    add_listing(command, HISTORY)


async def history(client: Client, arguments: Namespace) -> None:
    """``virtlayer history``."""
    image = await existing_image(client, arguments.image, arguments.pool)
    config = json.loads(await client.image_config(image.path))
    print_listing(arguments, history_rows(config, image.layers))


def history_rows(config: Any, layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Return the steps, the last one first.

    Args:
        config: An OCI config (image-spec, config.md, "history"), which is untrusted.
        layers: The layers of the image, base first.
    """
    steps = config.get("history") if isinstance(config, dict) else None
    remaining = list(layers)
    rows = []
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, dict):
            makes_layer = not step.get("empty_layer") and remaining
            rows.append(_row(step, remaining.pop(0) if makes_layer else None))
    # The history of an image is optional.
    rows += [_row({}, layer) for layer in remaining]
    return rows[::-1]


def _row(step: dict[str, Any], layer: Layer | None) -> dict[str, Any]:
    return {
        "created_at": _time(step.get("created")),
        "compressed_size": layer.compressed_size if layer else 0,
        "created_by": str(step.get("created_by") or "") or None,
        "comment": str(step.get("comment") or "") or None,
        "volume": layer.volume if layer else None,
        "diff_id": layer.diff_id if layer else None,
    }


def _time(text: object) -> str | None:
    """Return a time of RFC 3339; None for any other text."""
    try:
        moment = datetime.fromisoformat(str(text))
        return iso_time(int(moment.timestamp() * 1_000_000))
    except (ValueError, OverflowError, OSError):
        return None
