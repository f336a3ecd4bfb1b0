# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists of records: when one may be told to be the same as the one before."""

import time
from pathlib import Path

import pytest

from virtlayer.keeper.kinds.directory.records import list_records
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import list_digest

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
