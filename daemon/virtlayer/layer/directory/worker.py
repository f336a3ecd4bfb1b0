# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that writes a directory: one that applies layers, or one that customizes.

It starts with a socket to the daemon as its standard input, and a descriptor of the directory.
``session`` is the daemon's end and describes the messages.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

from virtlayer.layer.apply import LayerApplication
from virtlayer.layer.blob import BlobFile
from virtlayer.layer.customize.customization import Customization
from virtlayer.layer.customize.files import CannotCustomize
from virtlayer.layer.customize.perform import customize
from virtlayer.layer.customize.serve import INVALID
from virtlayer.layer.directory.editing import EditableDirectory
from virtlayer.layer.directory.refusal import STOPS, refusal
from virtlayer.layer.directory.tree import DirectoryTree
from virtlayer.layer.refusal import Refused
from virtlayer.layer.sandbox.directory import enter_directory_sandbox
from virtlayer.layer.sandbox.enter import Limits
from virtlayer.layer.serving import Answer, LayerReading, obey_cpu_limit, serve

_DESCRIPTORS = 96
"""Of these, 64 are directories (``places``)."""
_FILE_SIZE = 2**63 - 1


def main() -> None:
    """Serve requests until the daemon closes its end."""
    memory, cpu_seconds, directory = map(int, sys.argv[1:4])
    customizes = sys.argv[4:] == ["customize"]
    squashed = os.geteuid() != 0
    obey_cpu_limit()
    # Everything is imported and loaded by now: nothing else can be opened from here on.
    enter_directory_sandbox(
        Limits(
            memory=memory,
            cpu_seconds=cpu_seconds,
            descriptors=_DESCRIPTORS,
            file_size=_FILE_SIZE,
        ),
        directory,
        customizes=customizes,
    )
    serve(_customizing(directory, squashed) if customizes else _applying(directory, squashed))


def _applying(directory: int, squashed: bool) -> Answer:
    tree = DirectoryTree(directory, squashed=squashed)
    tree.begin()

    def answer(
        request: dict[str, Any], descriptors: list[int], control: socket.socket
    ) -> dict[str, Any]:
        if not descriptors:
            return _finish(tree)
        layer = LayerReading(request, control)
        try:
            blob = BlobFile(descriptors[0])
            entries = layer.read(blob, LayerApplication(tree, layer.limits).apply)
        except STOPS as error:
            raise refusal(error, layer.name) from error
        return {"entries": entries}

    return answer


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


def _customizing(directory: int, squashed: bool) -> Answer:
    tree = EditableDirectory(directory, squashed=squashed)

    def answer(request: dict[str, Any], _: list[int], __: socket.socket) -> dict[str, Any]:
        try:
            customize(tree, Customization.from_message(request["customization"]), time.time_ns())
            tree.finish()
        except CannotCustomize as error:
            raise Refused(INVALID, error.problem) from error
        except STOPS as error:
            raise refusal(error, b"") from error
        return {}

    return answer


if __name__ == "__main__":
    main()
