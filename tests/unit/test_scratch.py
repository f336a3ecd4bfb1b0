# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directories for temporary files."""

import asyncio
from pathlib import Path

import pytest

from tests.support.leftovers import nothing_left
from virtlayer.service.source.scratch import scratch_directory


async def test_it_goes_with_its_content(tmp_path: Path) -> None:
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


async def test_it_goes_when_its_user_is_cancelled(tmp_path: Path) -> None:
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
