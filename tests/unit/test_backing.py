# SPDX-License-Identifier: LGPL-2.1-or-later
"""What real image files are told to be overlays of."""

import json
from pathlib import Path

import pytest

from tests.support.pool_user import qemu_img
from virtlayer.errors import InUse
from virtlayer.keeper.backing import Backing, may_be_overlay, read_backing


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base: odd.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", str(path), "1M")
    return path


@pytest.mark.parametrize("image_format", ["qcow2", "qed", "qcow"])
async def test_an_overlay_of_any_format(tmp_path: Path, base: Path, image_format: str) -> None:
    overlay = tmp_path / "overlay"
    qemu_img("create", "-q", "-f", image_format, "-b", str(base), "-F", "qcow2", str(overlay))
    [found] = await read_backing(overlay, image_format)
    assert found.path == base
    assert may_be_overlay(overlay)


async def test_a_relative_name_is_next_to_the_overlay(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    create = ("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "gone", str(overlay), "1M")
    qemu_img(*create)
    assert await read_backing(overlay, None) == (Backing(tmp_path / "gone", "raw"),)


async def test_a_name_in_json(tmp_path: Path, base: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    name = "json:" + json.dumps({"driver": "qcow2", "file.filename": str(base)})
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", name, str(overlay), "1M")
    assert [found.path for found in await read_backing(overlay, "qcow2")] == [base]


async def test_another_machine_is_no_file(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    name = "nbd://elsewhere.example/base"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", name, str(overlay), "1M")
    assert await read_backing(overlay, "qcow2") == ()


async def test_what_has_no_backing(tmp_path: Path, base: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(1024))
    assert await read_backing(base, "qcow2") == ()
    assert await read_backing(raw, "raw") == ()
    assert await read_backing(tmp_path / "missing", "qcow2") == ()
    assert not may_be_overlay(raw)
    assert not may_be_overlay(tmp_path / "missing")


async def test_what_cannot_be_read_is_in_use(tmp_path: Path) -> None:
    broken = tmp_path / "broken.qcow2"
    broken.write_bytes(b"QFI\xfb")
    with pytest.raises(InUse, match=r"broken\.qcow2"):
        await read_backing(broken, "qcow2")


async def test_a_device_out_of_sight_may_be_an_overlay_of_anything() -> None:
    device = Path("/dev/virtlayer-test/volume")

    assert await read_backing(device, "raw") == ()
    with pytest.raises(InUse, match="does not see that device"):
        await read_backing(device, "qcow2")
