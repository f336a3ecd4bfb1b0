# SPDX-License-Identifier: LGPL-2.1-or-later
"""The output of a machine that libvirt has started, which is a file."""

import time
from pathlib import Path
from xml.etree import ElementTree

from virtlayer.protocol.streams import OUTPUT, RecordKind, RecordParser

_LOOK_SECONDS = 0.002
"""Between two looks at the output; little against a first line."""
_MOST_SECONDS = 120.0


def output_of(xml: Path) -> Path:
    """Return the file of the output records of a machine."""
    for channel in ElementTree.parse(xml).iter("channel"):  # noqa: S314 -- of our libvirtd
        source = channel.find("source")
        if channel.get("type") == "file" and source is not None:
            return Path(source.get("path", ""))
    raise SystemExit("The machine has no file for its output.")


def wait_for_line(output: Path) -> bytes:
    """Wait for what a new machine writes first; return it."""
    deadline = time.monotonic() + _MOST_SECONDS
    while (line := first_line_in(output)) is None:
        if time.monotonic() > deadline:
            raise SystemExit("The machine writes no line.")
        # The processors are the machine's.
        time.sleep(_LOOK_SECONDS)
    return line


def first_line_in(output: Path) -> bytes | None:
    """Return what a machine has written first; None if it has not written yet."""
    content = output.read_bytes() if output.exists() else b""
    for record in RecordParser(OUTPUT).feed(content):
        if record.kind is RecordKind.STDOUT:
            return record.content
    return None
