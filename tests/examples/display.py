# SPDX-License-Identifier: LGPL-2.1-or-later
"""An invisible X display: Xvfb, on a free number."""

import contextlib
import os
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def display() -> Iterator[dict[str, str]]:
    """Run Xvfb; yield the variables that make GTK 4 draw on it, without a GPU."""
    reading, writing = os.pipe()
    # It takes the first free display, and tells which one it is when it is ready.
    command = [
        "Xvfb",
        "-displayfd",
        str(writing),
        "-screen",
        "0",
        "1280x800x24",
        "-nolisten",
        "tcp",
    ]
    with (
        os.fdopen(reading) as told,
        subprocess.Popen(
            command, pass_fds=[writing], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server,
    ):
        os.close(writing)
        try:
            number = told.readline().strip()
            assert number, "Xvfb does not start"
            yield {
                "DISPLAY": f":{number}",
                "GDK_BACKEND": "x11",
                "GSK_RENDERER": "cairo",
                # No accessibility service either: it would be started on the bus, and stay.
                "GTK_A11Y": "none",
                "GSETTINGS_BACKEND": "memory",
            }
        finally:
            server.terminate()
