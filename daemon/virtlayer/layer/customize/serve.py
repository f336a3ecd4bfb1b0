# SPDX-License-Identifier: LGPL-2.1-or-later
"""The worker's part in a customization: the file system of the volume, changed and written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from virtlayer.layer.customize.customization import Customization
from virtlayer.layer.customize.files import CannotCustomize
from virtlayer.layer.customize.perform import customize
from virtlayer.layer.ext4.editing import EditableExt4
from virtlayer.layer.ext4.grow import CannotGrow
from virtlayer.layer.ext4.library import FilesystemFull
from virtlayer.layer.ext4.refusal import STOPS, refusal
from virtlayer.layer.refusal import NO_SPACE, Refused

if TYPE_CHECKING:
    import socket

INVALID = "InvalidArgument"


def serve_customization(message: dict[str, Any], device: socket.socket) -> dict[str, int]:
    """Customize the file system behind a connection.

    Args:
        message: From ``Customization.message``.
        device: Connected to the NBD server of the volume; taken over.

    Returns:
        What the daemon is told.

    Raises:
        Refused: It cannot be done.
    """
    customization = Customization.from_message(message)
    try:
        with EditableExt4.opened(device) as filesystem:
            _change(filesystem, customization)
            return {"free_bytes": filesystem.free_bytes}
    except CannotCustomize as error:
        raise Refused(INVALID, error.problem) from error
    except CannotGrow as error:
        problem = f"has a file system that can grow to {error.limit} bytes and no further"
        raise Refused(INVALID, problem) from error
    except FilesystemFull as error:
        raise Refused(NO_SPACE, "has no room left in its file system for the changes") from error
    except STOPS as error:
        raise refusal(error, b"", None) from error


def _change(filesystem: EditableExt4, customization: Customization) -> None:
    if customization.filesystem_size is not None:
        filesystem.grow(customization.filesystem_size)
    customize(filesystem, customization, time.time_ns())
    filesystem.finish()
