# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that applies layers to a directory (``start``).

``service.workers.directory`` is the service's end and describes the messages.
"""

from __future__ import annotations

import functools
import socket
from typing import Any

from virtlayer.worker.apply import LayerApplication
from virtlayer.worker.blob_reader import BlobReader
from virtlayer.worker.directory.refusal import STOPS, refusal
from virtlayer.worker.directory.start import start
from virtlayer.worker.directory.tree import DirectoryTree
from virtlayer.worker.reading import LayerReading
from virtlayer.worker.serving import serve


def main() -> None:
    """Serve requests until the daemon closes its end."""
    # Everything is imported and loaded by now: nothing else can be opened from here on.
    directory, squashed = start(customizes=False)
    tree = DirectoryTree(directory, squashed=squashed)
    tree.begin()
    serve(functools.partial(_answer, tree))


def _answer(
    tree: DirectoryTree, request: dict[str, Any], descriptors: list[int], control: socket.socket
) -> dict[str, Any]:
    if not descriptors:
        return _finish(tree)
    layer = LayerReading(request, control)
    try:
        blob = BlobReader(descriptors[0])
        entries = layer.read(blob, LayerApplication(tree, layer.limits).apply)
    except STOPS as error:
        raise refusal(error, layer.name) from error
    return {"entries": entries}


def _finish(tree: DirectoryTree) -> dict[str, Any]:
    try:
        tree.finish()
    except STOPS as error:
        raise refusal(error, b"") from error
    return {
        "squashed": tree.squashed,
        "skipped_devices": tree.skipped_devices,
        "skipped_attributes": tree.skipped_attributes,
    }


if __name__ == "__main__":
    main()
