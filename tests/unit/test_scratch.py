# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directories for temporary files."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.bus.polkit import NOBODY, open_directory
from tests.support.leftovers import nothing_left
from virtlayer.service.source.scratch import scratch_directory


async def test_scratch_directory_is_removed_with_its_content(tmp_path: Path) -> None:
    with nothing_left():
        async with scratch_directory(tmp_path / "place") as directory:
            assert directory.stat().st_mode & 0o777 == 0o700
            (directory / "below").mkdir()
            (directory / "below/file").touch()
    assert list((tmp_path / "place").iterdir()) == []


async def test_dead_ones_go_and_living_ones_stay(tmp_path: Path) -> None:
    async with scratch_directory(tmp_path) as living:
        dead = tmp_path / "source-dead"
        dead.mkdir()
        (dead / "file").touch()
        other = tmp_path / "other"
        other.mkdir()
        async with scratch_directory(tmp_path) as second:
            assert set(tmp_path.iterdir()) == {living, second, other}


async def test_scratch_directory_is_removed_after_cancellation(tmp_path: Path) -> None:
    there = asyncio.Event()

    async def use() -> None:
        async with scratch_directory(tmp_path):
            there.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await there.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
async def test_scratch_directory_is_removed_with_inaccessible_content() -> None:
    """The directories that skopeo unpacks for a service without capabilities."""
    with open_directory() as top:
        os.chown(top, NOBODY.pw_uid, NOBODY.pw_gid)
        outside = top / "outside"
        outside.mkdir(mode=0o711)
        os.seteuid(NOBODY.pw_uid)
        try:
            async with scratch_directory(top / "place") as directory:
                closed = directory / "closed"
                (closed / "below").mkdir(parents=True)
                (closed / "below" / "file").touch()
                (closed / "link").symlink_to(outside)
                (closed / "below").chmod(0)
                closed.chmod(0)
        finally:
            os.seteuid(0)
        assert list((top / "place").iterdir()) == []
        assert outside.stat().st_mode & 0o777 == 0o711
