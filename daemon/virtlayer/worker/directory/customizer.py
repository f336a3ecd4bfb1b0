# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that customizes a directory (``start``).

``service.workers.directory`` is the service's end and describes the messages.
"""

from __future__ import annotations

import functools
import socket
import time
from typing import Any

from virtlayer.protocol.customization import Customization
from virtlayer.worker.customize.files import CannotCustomize
from virtlayer.worker.customize.host_keys import new_host_keys
from virtlayer.worker.customize.perform import customize
from virtlayer.worker.directory.editing import EditableDirectory
from virtlayer.worker.directory.refusal import STOPS, refusal
from virtlayer.worker.directory.start import start
from virtlayer.worker.refusal import INVALID, Refused
from virtlayer.worker.serving import serve


def main() -> None:
    """Serve requests until the daemon closes its end."""
    # Everything is imported and loaded by now: nothing else can be opened from here on.
    directory, squashed = start(customizes=True)
    serve(functools.partial(_answer, EditableDirectory(directory, squashed=squashed)))


def _answer(
    tree: EditableDirectory, request: dict[str, Any], _: list[int], __: socket.socket
) -> dict[str, Any]:
    try:
        customization = Customization.from_message(request["customization"])
        customize(tree, customization, time.time_ns(), new_host_keys)
        tree.finish()
    except CannotCustomize as error:
        raise Refused(INVALID, error.problem) from error
    except STOPS as error:
        raise refusal(error, b"") from error
    return {"skipped_devices": tree.skipped_devices}


if __name__ == "__main__":
    main()
