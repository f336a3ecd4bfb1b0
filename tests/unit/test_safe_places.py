# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which pools root writes an image's files into."""

import os
import pwd
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small_filesystem import memory_filesystem
from virtlayer.errors import PoolInactive, PoolUnsupported
from virtlayer.keeper.kinds.directory.safe_places import check_place
from virtlayer.protocol.pools import Pool

pytestmark = pytest.mark.root

_GAMES = pwd.getpwnam("games")
_CLOSED, _OPEN = 0o700, 0o755


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may enter, in the sticky /tmp."""
    path = Path(tempfile.mkdtemp(prefix="safe-"))
    path.chmod(_OPEN)
    yield path
    shutil.rmtree(path)


def directory(path: Path, mode: int, *, uid: int = 0, gid: int = 0) -> Path:
    path.mkdir()
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


def allow(path: Path, uid: int, permissions: int) -> None:
    """Give a directory an access control list (acl(5)) that also names a user."""
    owner, user, group, mask, other, none = 0x01, 0x02, 0x04, 0x10, 0x20, 2**32 - 1
    entries = (
        *((owner, 7, none), (user, permissions, uid), (group, 0, none)),
        *((mask, permissions, none), (other, 0, none)),
    )
    content = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", content)


async def check(path: Path, *, others_may_enter: bool = False) -> None:
    pool = Pool(name="images", uuid="", kind="dir", path=path)
    await check_place(pool, others_may_enter=others_may_enter)


async def refusal(path: Path, *, others_may_enter: bool = False) -> str:
    with pytest.raises(PoolUnsupported) as caught:
        await check(path, others_may_enter=others_may_enter)
    return str(caught.value)


async def test_roots_closed_directory_in_a_sticky_one_is_allowed(place: Path) -> None:
    await check(directory(place / "pool", _CLOSED))
    await check(directory(place / "group", 0o710))


async def test_closed_directory_above_is_enough(place: Path) -> None:
    above = directory(place / "above", _CLOSED)
    await check(directory(above / "pool", _OPEN))


async def test_users_own_closed_pool_is_refused(place: Path) -> None:
    pool = directory(place / "pool", _CLOSED, uid=_GAMES.pw_uid)
    for others_may_enter in (False, True):
        text = await refusal(pool, others_may_enter=others_may_enter)
        assert f"{pool} belongs to uid {_GAMES.pw_uid} and has mode 0700" in text


async def test_closed_pool_below_a_users_directory_is_refused(place: Path) -> None:
    home = directory(place / "home", _OPEN, uid=_GAMES.pw_uid)
    pool = directory(home / "pool", _CLOSED)
    assert f"{home} belongs to uid {_GAMES.pw_uid}" in await refusal(pool)
    closed = directory(place / "closed", _CLOSED)
    shutil.move(home, closed / "home")
    assert "belongs to uid" in await refusal(closed / "home" / "pool")


@pytest.mark.parametrize(("mode", "gid"), [(0o777, 0), (0o775, _GAMES.pw_gid)])
async def test_pool_that_others_can_exchange_is_refused(place: Path, mode: int, gid: int) -> None:
    above = directory(place / "above", mode, gid=gid)
    pool = directory(above / "pool", _CLOSED)
    assert f"{above} belongs to uid 0 and has mode {mode:04o}" in await refusal(pool)
    above.chmod(mode | 0o1000)
    await check(pool)


async def test_pool_that_others_can_enter_is_refused_unless_nothing_runs_as_root(
    place: Path,
) -> None:
    for name, mode, gid in (("a", 0o711, 0), ("b", 0o750, _GAMES.pw_gid)):
        pool = directory(place / name, mode, gid=gid)
        assert "can enter (chmod o-x)" in await refusal(pool)
        await check(pool, others_may_enter=True)


async def test_access_control_list_counts(place: Path) -> None:
    pool = directory(place / "pool", _CLOSED)
    allow(pool, _GAMES.pw_uid, 5)
    assert "can enter (chmod o-x)" in await refusal(pool)
    allow(pool, _GAMES.pw_uid, 7)
    assert "writable for root alone" in await refusal(pool)


async def test_links_on_the_way_must_be_roots(place: Path) -> None:
    pool = directory(place / "pool", _CLOSED)
    link = place / "link"
    link.symlink_to("pool")
    await check(link)
    os.chown(link, _GAMES.pw_uid, -1, follow_symlinks=False)
    assert f"{link} belongs to uid {_GAMES.pw_uid}" in await refusal(link)
    home = directory(place / "home", _OPEN, uid=_GAMES.pw_uid)
    (home / "link").symlink_to(pool)
    assert f"{home} belongs to uid" in await refusal(home / "link")


async def test_closed_directory_with_a_link_closes_nothing(place: Path) -> None:
    pool = directory(place / "pool", _OPEN)
    closed = directory(place / "closed", _CLOSED)
    (closed / "link").symlink_to("../pool")
    assert "can enter the directory" in await refusal(closed / "link")
    assert pool.exists()


async def test_links_in_a_circle_and_missing_directories_are_reported(place: Path) -> None:
    (place / "circle").symlink_to("circle")
    with pytest.raises(PoolUnsupported, match="Too many levels"):
        await check(place / "circle")
    with pytest.raises(PoolInactive):
        await check(place / "missing")


async def test_file_system_without_setuid_and_devices_is_allowed(place: Path) -> None:
    pool = directory(place / "pool", _OPEN)
    with memory_filesystem(pool):
        pool.chmod(_OPEN)
        await refusal(pool)
        subprocess.run(["mount", "-o", "remount,nosuid,nodev", pool], check=True)
        await check(pool)
