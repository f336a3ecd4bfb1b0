# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modules that the workers load before they enter their sandbox."""

import subprocess
import sys

import pytest

_HEAVY = {"asyncio", "ctypes", "logging", "pathlib", "ssl", "subprocess", "urllib.parse"}
_DATACLASSES = {"dataclasses", "inspect"}
_ARCHIVES = {"isal", "virtlayer.worker.archive.archive", "zstandard"}
_EXT4 = {"virtlayer.worker.ext4.library"}
_CUSTOMIZING = {"virtlayer.protocol.customization"}
_KEYS = {"cryptography"}


@pytest.mark.parametrize(
    ("worker", "unneeded"),
    [
        ("virtlayer.worker.ext4.worker", _DATACLASSES | _CUSTOMIZING | _KEYS),
        ("virtlayer.worker.customize.worker", _ARCHIVES | _KEYS),
        ("virtlayer.worker.customize.identity_worker", _ARCHIVES),
        ("virtlayer.worker.directory.worker", _DATACLASSES | _CUSTOMIZING | _EXT4 | _KEYS),
        ("virtlayer.worker.directory.customizer", _ARCHIVES | _EXT4),
        ("virtlayer.worker.disk.worker", _DATACLASSES | _CUSTOMIZING | _EXT4),
        ("virtlayer.worker.disk.qemu_img", _DATACLASSES | _CUSTOMIZING | _EXT4 | _ARCHIVES),
    ],
)
def test_worker_loads_only_needed_modules(worker: str, unneeded: set[str]) -> None:
    code = f"import sys, {worker}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert worker in loaded
    assert not loaded & (_HEAVY | unneeded)
