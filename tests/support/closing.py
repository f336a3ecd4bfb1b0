# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waiting for descriptors of callers to be closed, which happens in threads."""

import threading


def wait_until_closed() -> None:
    """Return when every descriptor is closed that was to be closed."""
    for thread in threading.enumerate():
        if thread.name == "closes descriptors":
            thread.join()
