# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example's window, on a display of its own, with the real virtlayerd behind it.

``SCREENSHOT=docs/desktop.png .venv/bin/pytest tests/examples/test_desktop.py`` makes the picture
in the documents.
"""

import asyncio
import json
import os
from pathlib import Path

from tests.examples.display import display
from tests.examples.place import SOURCE, Place
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import file, image, layer

_DRIVER = Path(__file__).parent / "drive_window.py"


async def test_window_pulls_cancels_and_creates(session: Place, tmp_path: Path) -> None:
    picture = Path(os.environ.get("SCREENSHOT", tmp_path / "window.png")).absolute()
    big = layer(file("usr/lib/big", os.urandom(3_000_000)), compression="none")
    session.host.start_pool("other")
    async with FaultyRegistry() as registry:
        source = registry.store(image([big]), "team/machine:2")
        registry.faults[big.digest] = Fault.HANG_HALF_WAY
        with display() as variables:
            ended = await asyncio.to_thread(
                session.run,
                *("env", *(f"{name}={value}" for name, value in variables.items())),
                *("/usr/bin/python3", _DRIVER, SOURCE, source, picture),
            )
    seen = json.loads(ended.stdout)

    assert (seen["pools"], seen["pool"]) == (["default", "other"], "default")
    assert seen["can pull nothing"] is False
    assert "debian:13 to default: done" in seen["after the pull"]
    assert seen["hint without a selection"] == "Select an image to create a volume"
    assert SOURCE in seen["details"]
    assert "linux/amd64" in seen["details"]
    assert seen["images"] == ["debian:13"]
    assert "2 layers, up to 16 GiB" in seen["image"][1]
    assert seen["can create without a name"] is False
    assert seen["after the volume"] == "Create a volume on debian:13 in default: done"
    assert "web.qcow2" in session.host.volumes("default")
    assert "web.qcow2" in seen["failed"]
    assert "docker://UPPER/.." in seen["refused"]
    assert seen["error goes"] is True
    # Half of the bytes have arrived, and of those some may be applied.
    assert 0.2 < seen["bar"] < 0.6
    assert seen["bar text"].startswith("Downloading ")
    assert seen["jobs"] == ["running", "failed"]
    assert seen["after the cancel"].endswith(": cancelled")
    assert "web.qcow2" in seen["not removed"]
    assert seen["after the removal"] == "Remove debian:13 from other: done"
    assert seen["images in other"] == []
    assert seen["images without a daemon"] == ["debian:13"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "CRITICAL" not in ended.stderr
    assert "Traceback" not in ended.stderr
