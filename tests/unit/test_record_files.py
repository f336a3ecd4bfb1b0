# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists of records: what is in them, and when one may be told to be the same as before."""

import os
import time
from pathlib import Path

import pytest

from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.calls import list_files
from virtlayer.keeper.kinds.directory import records as records_module
from virtlayer.keeper.kinds.directory.records import list_records
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import Stamp, list_digest

_FILE = f"{'0' * 64}.json"


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """A pool with a record."""
    own = tmp_path / ".virtlayer"
    own.mkdir()
    (own / "claims").mkdir()
    (own / _FILE).write_text("{}")
    return Pool("default", "uuid", "dir", tmp_path)


def _replace(pool: Pool) -> None:
    own = pool.path / ".virtlayer"
    (own / ".new-1-1").write_text("[]")
    (own / ".new-1-1").rename(own / _FILE)


def test_a_list_that_is_the_same_is_not_repeated(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time_ns() + 3_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    first = list_records(pool, None)
    assert (first.present, [one.file for one in first.records]) == (True, [_FILE])
    assert first.stamp is not None
    same = list_records(pool, first.stamp)
    assert (same.unchanged, same.stamp, same.records) == (True, first.stamp, ())
    # Claims are no records.
    (pool.path / ".virtlayer" / "claims" / "x").touch()
    assert list_records(pool, first.stamp).unchanged
    _replace(pool)
    changed = list_records(pool, first.stamp)
    assert not changed.unchanged
    assert changed.records != first.records
    (pool.path / ".virtlayer" / _FILE).unlink()
    assert list_records(pool, first.stamp).records == ()


@pytest.mark.parametrize("seconds", [0, 1, -1])
def test_a_list_just_after_a_change_has_to_be_repeated(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """The next change could have the same time; a server's clock may be ahead."""
    changed = (pool.path / ".virtlayer").stat().st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: changed + seconds * 1_000_000_000)
    assert list_records(pool, None).stamp is None


def test_a_list_that_is_known_is_not_repeated(pool: Pool) -> None:
    whole = list_records(pool, None)
    known = list_digest((one.file, str(one.stamp)) for one in whole.records)
    same = list_records(pool, None, known)
    assert (same.present, same.unchanged, same.records) == (True, True, ())
    _replace(pool)
    changed = list_records(pool, None, known)
    assert not changed.unchanged
    assert [one.file for one in changed.records] == [_FILE]


def test_a_list_has_the_files_with_the_names_of_records(pool: Pool) -> None:
    own = pool.path / ".virtlayer"
    for name in (".new-1-1", "x.json", f"{'0' * 63}.json", f"{'0' * 64}.json.json"):
        (own / name).touch()
    (own / f"{'1' * 64}.json").symlink_to("claims")
    (own / f"{'2' * 64}.json").mkdir()
    listed = {one.file: one.stamp for one in list_records(pool, None).records}
    assert sorted(listed) == [f"{digit * 64}.json" for digit in "012"]
    for name, stamp in listed.items():
        info = (own / name).lstat()
        assert stamp == Stamp(info.st_ino, info.st_ctime_ns, info.st_size)


def test_too_many_records_are_refused(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "RECORDS_LIMIT", 2)
    own = pool.path / ".virtlayer"
    (own / f"{'1' * 64}.json").touch()
    assert len(list_records(pool, None).records) == 2
    (own / f"{'2' * 64}.json").touch()
    with pytest.raises(PoolUnsupported, match="more than 2 records"):
        list_records(pool, None)


def test_files_of_a_directory_are_listed_with_what_lstat_says(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number}.json").write_text("x" * number)
    (tmp_path / os.fsdecode(b"\xff.json")).touch()
    (tmp_path / ("a" * 250 + ".json")).symlink_to("nothing")
    (tmp_path / "other").touch()
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(2):
            listed = list_files(directory, ".json", 1000)
            assert len(listed) == 202
            for name, *stamp in listed:
                info = (tmp_path / name).lstat()
                assert stamp == [info.st_ino, info.st_ctime_ns, info.st_size]
        assert len(list_files(directory, ".json", 70)) == 70
        assert len(list_files(directory, "", 1000)) == 205
    finally:
        os.close(directory)
    for descriptor in (-1, directory):
        with pytest.raises(OSError, match="Bad file descriptor"):
            list_files(descriptor, ".json", 1)
