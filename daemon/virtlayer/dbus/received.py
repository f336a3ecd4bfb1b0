# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptors that came with a message."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable


def close_received(
    descriptors: Iterable[int], closed: Callable[[int], object] = lambda _: None
) -> None:
    """Close descriptors of another process; one that is closed already is no error.

    This happens in a thread that is not waited for: the sender controls how long it takes, by
    SO_LINGER of a socket for instance.

    Args:
        descriptors: The descriptors.
        closed: Called in that thread with their number, when they are closed.
    """
    given = tuple(descriptors)

    def close() -> None:
        for descriptor in given:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        # The event loop may be closed by then.
        with contextlib.suppress(RuntimeError):
            closed(len(given))

    if given:
        threading.Thread(target=close, name="closes descriptors", daemon=True).start()
