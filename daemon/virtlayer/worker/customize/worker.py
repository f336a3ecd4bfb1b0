# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that customizes volumes: it changes what is in their file systems.

It starts with one descriptor, a socket to the daemon as its standard input. A request comes with
a connection to the NBD server of the volume. ``service.workers.customization`` is the service's
end and describes the messages.
"""

from __future__ import annotations

import functools
import socket
import sys
import time
from typing import Any

from virtlayer.protocol.customization import Customization
from virtlayer.sizes import human_size
from virtlayer.worker.customize.files import CannotCustomize
from virtlayer.worker.customize.fresh_identity import NewHostKeys
from virtlayer.worker.customize.perform import customize
from virtlayer.worker.ext4.editing import CannotGrow, EditableExt4
from virtlayer.worker.ext4.library import FilesystemFull
from virtlayer.worker.ext4.refusal import STOPS, refusal
from virtlayer.worker.refusal import INVALID, NO_SPACE, Refused
from virtlayer.worker.sandbox.enter import Limits, enter_sandbox
from virtlayer.worker.serving import obey_cpu_limit, serve


def main(new_host_keys: NewHostKeys | None = None) -> None:
    """Serve requests until the daemon closes its end.

    Args:
        new_host_keys: Makes the keys of a fresh identity; None for a worker without it.
    """
    memory, cpu_seconds = map(int, sys.argv[1:])
    obey_cpu_limit()
    # Everything is imported and loaded by now: no file can be opened from here on.
    enter_sandbox(Limits(memory=memory, cpu_seconds=cpu_seconds))
    serve(functools.partial(_answer, new_host_keys))


def _answer(
    new_host_keys: NewHostKeys | None,
    request: dict[str, Any],
    descriptors: list[int],
    _: socket.socket,
) -> dict[str, Any]:
    customization = Customization.from_message(request["customization"])
    device = socket.socket(fileno=descriptors.pop())
    try:
        with EditableExt4.opened(device) as filesystem:
            replaced = _change(filesystem, customization, new_host_keys)
            return {"free_bytes": filesystem.free_bytes, "identity_replaced": replaced}
    except CannotCustomize as error:
        raise Refused(INVALID, error.problem) from error
    except CannotGrow as error:
        problem = f"has a file system that can grow to {human_size(error.limit)} at most"
        raise Refused(INVALID, problem) from error
    except FilesystemFull as error:
        raise Refused(
            NO_SPACE, "has too little free space in its file system for the changes"
        ) from error
    except STOPS as error:
        raise refusal(error, b"", None) from error


def _change(
    filesystem: EditableExt4, customization: Customization, new_host_keys: NewHostKeys | None
) -> bool:
    if customization.filesystem_size is not None:
        filesystem.grow(customization.filesystem_size)
    replaced = customize(filesystem, customization, time.time_ns(), new_host_keys)
    filesystem.finish()
    return replaced


if __name__ == "__main__":
    main()
