# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks whether an image's config says that it contains a machine's disk (a containerDisk).

There is no media type or annotation for that: what tells it for certain is a file in the directory
/disk of a layer, and that is known when the layer is read. The config tells it in two ways, neither
of which it has to: how the image was built stands in its history, and KubeVirt's own images name
the kind of machine that they are for in labels and variables.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_ADDED_TO_DISK = re.compile(r"\b(?:ADD|COPY)\b.*[ \"](?:in )?/?disk(?:/[^ \"]*)?[\" \]]*(?:#.*)?$")
"""A Dockerfile's instruction, as Docker's builders and buildah note it, that ends in /disk."""
_KUBEVIRT = ("INSTANCETYPE_KUBEVIRT_IO_", "instancetype.kubevirt.io/", "kubevirt.io/")


def says_container_disk(config: str) -> bool:
    """Return whether the config of an image shows that it is a containerDisk.

    Args:
        config: The OCI config, JSON, which may be of any form.
    """
    document: Any = json.loads(config)
    return any(_ADDED_TO_DISK.search(step) for step in _history(document)) or any(
        mark.startswith(_KUBEVIRT) for mark in _marks(document)
    )


def _history(document: Any) -> Iterator[str]:
    match document:
        case {"history": list(steps)}:
            for step in steps:
                match step:
                    case {"created_by": str(text)}:
                        yield text


def _marks(document: Any) -> Iterator[str]:
    match document:
        case {"config": dict(config)}:
            for container in (config.get("Labels"), config.get("Env")):
                if isinstance(container, dict | list):
                    yield from (mark for mark in container if isinstance(mark, str))
