# SPDX-License-Identifier: LGPL-2.1-or-later
"""Results of jobs as documents with the keys of ``virtlayer.client.keys``."""

from collections.abc import Mapping
from typing import Any

DOCUMENTS = {
    "pull": (
        *("name", "object", "outcome", "digest", "platform", "host_platform", "foreign"),
        *("container_disk", "volume", "path", "volume_created", "volumes", "layers_built"),
        *("layers_reused", "bytes_downloaded", "format", "virtual_size", "squashed"),
        *("skipped_devices", "skipped_attributes"),
    ),
    "create-volume": ("image", "object", "volume", "path", "virtual_size"),
    "remove": ("deleted_volumes", "bytes_freed"),
    "remove-volume": ("deleted_volumes", "bytes_freed"),
    "prune": ("deleted_volumes", "bytes_freed"),
    "populate": ("images",),
    "rescan": ("layers_found", "layers_lost", "images_lost", "unreferenced_layers"),
    "create-domain": (
        *("name", "uuid", "pool", "image", "digest", "volume", "path", "type", "network"),
        *("kernel_version", "notes", "started"),
    ),
    "start-domain": (),
    "stop-domain": ("forced",),
    "remove-domain": ("deleted_volumes", "bytes_freed"),
}
"""The keys of the document of each kind of job."""
UPDATED = (
    *("file", "pool", "name", "source", "outcome", "digest", "layers_built", "bytes_downloaded"),
    *("deleted_volumes", "error", "message"),
)
"""The keys of each image of a populate."""

_EVERYWHERE = {"image": "object", "size": "virtual_size", "bytes": "bytes_freed"}
_DELETED = {"volumes": "deleted_volumes"}
_RENAMED = {
    "remove": _DELETED,
    "remove-volume": _DELETED,
    "prune": _DELETED,
    "remove-domain": _DELETED,
    "create-domain": {"image": "image"},
    "rescan": {
        "found": "layers_found",
        "lost": "layers_lost",
        "orphans": "unreferenced_layers",
    },
}
"""Keys of D-Bus that have another meaning elsewhere, by the kind of the job."""


def result_document(kind: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a job as the command prints it; with the keys of ``DOCUMENTS``.

    Args:
        kind: The kind of the job, such as pull.
        result: As the service sent it.
    """
    renamed = _EVERYWHERE | _RENAMED.get(kind, {})
    document = {renamed.get(key, key): value for key, value in result.items()}
    if kind == "populate":
        document["images"] = [_updated(image) for image in document.get("images", ())]
    return document


def _updated(image: Mapping[str, Any]) -> dict[str, Any]:
    document = {("deleted_volumes" if key == "removed" else key): image[key] for key in image}
    return document | {key: image[key] or None for key in ("error", "message")}
