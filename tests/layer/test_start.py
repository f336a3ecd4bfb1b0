# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the workers load before they shut themselves in: time of every job, and code to attack."""

import subprocess
import sys

import pytest

_HEAVY = {"asyncio", "ctypes", "logging", "pathlib", "ssl", "subprocess", "urllib.parse"}
_DATACLASSES = {"dataclasses", "inspect"}
_ARCHIVES = {"isal", "virtlayer.layer.archive", "zstandard"}
_EXT4 = {"virtlayer.layer.ext4.library"}
_CUSTOMIZING = {"virtlayer.layer.customize.customization"}


@pytest.mark.parametrize(
    ("worker", "unneeded"),
    [
        ("virtlayer.layer.worker", _DATACLASSES | _CUSTOMIZING),
        ("virtlayer.layer.customize.worker", _ARCHIVES),
        ("virtlayer.layer.directory.worker", _DATACLASSES | _CUSTOMIZING | _EXT4),
        ("virtlayer.layer.directory.customizer", _ARCHIVES | _EXT4),
        ("virtlayer.layer.disk.worker", _DATACLASSES | _CUSTOMIZING | _EXT4),
        ("virtlayer.layer.disk.look", _DATACLASSES | _CUSTOMIZING | _EXT4 | _ARCHIVES),
    ],
)
def test_a_worker_loads_nothing_that_it_does_not_need(worker: str, unneeded: set[str]) -> None:
    code = f"import sys, {worker}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert worker in loaded
    assert not loaded & (_HEAVY | unneeded)
