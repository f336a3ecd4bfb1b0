# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers onto a directory of the host, compared with what umoci unpacks. These tests need root."""

from pathlib import Path

import pytest

from tests.directories import build_directory
from tests.images import image, write_layout
from tests.layer.test_oracle import IMAGES, gzipped
from tests.trees import differences, scan, umoci_tree


@pytest.mark.parametrize("name", IMAGES)
async def test_directory_equals_what_umoci_unpacks(name: str, tmp_path: Path) -> None:
    layers = IMAGES[name]
    layout = write_layout(tmp_path / "layout", {"test": image(map(gzipped, layers))})
    expected = umoci_tree(layout, "test", tmp_path)

    finished = await build_directory(tmp_path / "root", layers)

    assert differences(scan(tmp_path / "root"), expected) == []
    assert (finished.squashed, finished.skipped_devices, finished.skipped_attributes) == (
        False,
        0,
        0,
    )
