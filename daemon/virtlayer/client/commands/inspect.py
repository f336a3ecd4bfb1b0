# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer inspect``: an image or volume in a pool, or an image at its source."""

import json
import re
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from virtlayer.client.access import absolute_source, access_options
from virtlayer.client.bus.answers import FormerVersion, ImageDetails, Layer
from virtlayer.client.bus.caller import Client
from virtlayer.client.commands.images import find_image, image_document, short_digest
from virtlayer.client.common_arguments import add_access, add_command, add_pool
from virtlayer.client.output import print_fields, print_json
from virtlayer.client.parser import Commands
from virtlayer.client.times import iso_time, local_time
from virtlayer.errors import ImageNotFound, NotAuthorized, VirtlayerError, VolumeNotFound
from virtlayer.sizes import human_size

_TRANSPORT = re.compile(
    r"[a-z]+://|(oci|oci-archive|docker-archive|dir|containers-storage|docker-daemon):"
)


_KEYS = (
    *("name", "pool", "source", "digest", "image_id", "os", "architecture", "platforms"),
    *("compressed_size", "volume", "path", "format", "image", "is_layer", "is_disk", "uid_map"),
    *("gid_map", "virtual_size", "pulled_at", "policy_scope", "unsigned_accepted"),
    *("container_disk", "diff_id", "layers", "config", "former_versions", "former", "replaced_at"),
    *("is_kept", "broken", "object"),
)
"""The keys of images, volumes, sources and layers together."""


def add_inspect(commands: Commands) -> None:
    """Add ``virtlayer inspect``."""
    command = add_command(
        commands,
        "inspect",
        "show details of an image or volume",
        inspect,
        details="A name is that of an image or volume in a pool. A source with a transport, such "
        "as docker://docker.io/library/debian:13, is inspected without pulling it.",
        keys=_KEYS,
    )
    command.add_argument("source", metavar="IMAGE|VOLUME|SOURCE")
    add_pool(command)
    add_access(command)


async def inspect(client: Client, arguments: Namespace) -> None:
    """``virtlayer inspect``."""
    if _TRANSPORT.match(arguments.source):
        await _inspect_source(client, arguments)
    elif image := await find_image(client, arguments.source, arguments.pool):
        await _inspect_image(client, image, as_json=arguments.json)
    else:
        await _inspect_volume(client, arguments)


async def _inspect_source(client: Client, arguments: Namespace) -> None:
    with access_options(arguments) as (options, sent):
        inspecting = client.inspect(absolute_source(arguments.source), options)
        try:
            found = await inspecting
        except VirtlayerError:
            sent.check()
            raise
    layers = [Layer(diff_id, digest, size) for digest, diff_id, size in found["layers"]]
    if arguments.json:
        print_json(
            {
                "source": found["reference"],
                "digest": found["digest"],
                "image_id": found["image_id"],
                "os": found["os"],
                "architecture": found["architecture"],
                "platforms": found["platforms"],
                "layers": [
                    {
                        "digest": layer.volume,
                        "diff_id": layer.diff_id,
                        "compressed_size": layer.compressed_size,
                    }
                    for layer in layers
                ],
                "compressed_size": found["size"],
                "policy_scope": found.get("policy_scope"),  # a daemon may be older
                "unsigned_accepted": found.get("unsigned_accepted", True),
                "container_disk": found.get("container_disk", False),
                "config": json.loads(found["config"]),
            }
        )
        return
    print_fields(
        [
            ("source", found["reference"]),
            ("digest", found["digest"]),
            ("image id", found["image_id"]),
            ("platform", f"{found['os']}/{found['architecture']}"),
            *_below_one_another("available for", found["platforms"]),
            *_layers(layers),
            ("size", f"{human_size(found['size'])}, compressed"),
            *_signatures(found.get("policy_scope"), found.get("unsigned_accepted", True)),
            *(
                [("disk", "of a machine; pull it with --format=disk")]
                if found.get("container_disk")
                else []
            ),
        ]
    )


async def _inspect_image(client: Client, image: ImageDetails, *, as_json: bool) -> None:
    try:
        config: Any = json.loads(await client.image_config(image.path))
    except NotAuthorized:
        config = None
    try:
        path = (await client.describe_volume(image.pool, image.volume))["path"]
    except VolumeNotFound:
        path = None  # the image is broken
    if as_json:
        layers = [
            {
                "volume": layer.volume,
                "diff_id": layer.diff_id,
                "compressed_size": layer.compressed_size,
            }
            for layer in image.layers
        ]
        former = [
            {
                "source": one.source,
                "digest": one.digest,
                "volume": one.volume,
                "pulled_at": iso_time(one.pulled_at),
                "replaced_at": iso_time(one.replaced_at),
                "is_kept": one.is_kept,
            }
            for one in image.former_versions
        ]
        document = image_document(image) | {"path": path, "layers": layers or None}
        print_json(document | {"former": former, "config": config})
        return
    print_fields(
        [
            ("name", image.name),
            ("pool", image.pool),
            ("source", image.source or "-"),
            ("digest", image.digest or "-"),
            ("image id", image.image_id or "-"),
            ("platform", f"{image.os}/{image.architecture}"),
            ("pulled", local_time(image_document(image)["pulled_at"], "-")),
            *_layers(image.layers),
            ("virtual size", human_size(image.size)),
            ("path", path or "-"),
            *_below_one_another("before", [_former(one) for one in image.former_versions]),
            *([("broken", image.broken)] if image.broken else []),
            *_signatures(image.policy_scope, image.unsigned_accepted),
        ]
    )


async def _inspect_volume(client: Client, arguments: Namespace) -> None:
    name, pool = arguments.source, arguments.pool
    try:
        found = await client.describe_volume(pool, name)
    except VolumeNotFound:
        raise ImageNotFound(
            f'The pool "{pool}" has no image or volume "{name}". To inspect an image in a '
            f"registry, add the transport: docker://{name}."
        ) from None
    document = {
        "name": name,
        "pool": pool,
        "path": found["path"],
        "format": found["format"],
        "image": found["image"] or None,
        "digest": found["digest"] or None,
        "is_layer": found["layer"],
        "is_disk": found.get("disk", False),  # a daemon may be older
        "uid_map": found.get("uid_map"),
        "gid_map": found.get("gid_map"),
    }
    if arguments.json:
        config = json.loads(found["config"]) if found["config"] else None
        print_json(document | {"config": config})
        return
    kind = "layer of images" if document["is_layer"] else "volume"
    print_fields(
        [
            ("name", name),
            ("pool", pool),
            ("kind", "disk of a machine" if document["is_disk"] else kind),
            ("image", found["image"] or "-"),
            ("digest", found["digest"] or "-"),
            ("format", found["format"]),
            ("path", found["path"]),
        ]
    )


def _layers(layers: Sequence[Layer]) -> list[tuple[str, str]]:
    lines = [f"{layer.volume}  {human_size(layer.compressed_size)}" for layer in layers]
    return _below_one_another("layers", lines)


def _former(version: FormerVersion) -> str:
    replaced = local_time(iso_time(version.replaced_at), "-")
    return f"{version.source} {short_digest(version.digest)}, replaced {replaced}"


def _signatures(scope: str | None, unsigned_accepted: bool) -> list[tuple[str, str]]:
    if not scope:
        return []
    what = "not required" if unsigned_accepted else "required"
    return [("signatures", f"{what} by the policy for {scope}")]


def _below_one_another(name: str, values: list[str]) -> list[tuple[str, str]]:
    return [(name if index == 0 else "", value) for index, value in enumerate(values)]
