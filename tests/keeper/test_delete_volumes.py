# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service can have only those volumes deleted that the keeper placed for it, and nothing uses."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import delete, qcow2, staged, write
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import OWN
from tests.support.pool_user import DOMAIN, qemu_img
from tests.support.raw_keeper import RawKeeper

NOT_OURS = "VolumeNotFound"
_INODES_TRIED = 1000
"""Other processes make files at the same time."""


def placed(keeper: RawKeeper, pool: TestPool, name: str) -> Path:
    """A writable volume that is in its pool."""
    staging = staged(keeper, pool, "volume")
    write(pool, "staged", qcow2())
    keeper.get("flush", staging=staging, file="staged")
    done = keeper.get("place", staging=staging, file="staged", name=name, build=None)
    assert done["ours"] is True
    keeper.get("release", number=staging, failed=False)
    return pool.path / name


def record(keeper: RawKeeper, pool: TestPool, kind: str, name: str) -> None:
    """Write a record for any name, as a hostile service does."""
    lock = keeper.get("lock", pool=pool.uuid)["lock"]
    content = os.memfd_create("record", os.MFD_ALLOW_SEALING)
    os.write(content, b"{}")
    fcntl.fcntl(content, fcntl.F_ADD_SEALS, 0xF)
    request = {"kind": kind, "name": name, "expected": None, "holder": lock, "durable": True}
    reply = keeper.ask("put-record", [content], pool=pool.uuid, **request)
    os.close(content)
    assert reply.error == "", reply
    keeper.get("release", number=lock, failed=False)


def test_volume_that_was_placed_is_deleted_with_its_record(
    keeper: RawKeeper, pool: TestPool
) -> None:
    path = placed(keeper, pool, "own.qcow2")
    record(keeper, pool, "volume", "own.qcow2")
    assert len(list((pool.path / OWN).glob("*.json"))) == 1
    assert delete(keeper, pool, "own.qcow2") == {"names": ["own.qcow2"], "error": "", "text": ""}
    assert not path.exists()
    assert list((pool.path / OWN).glob("*.json")) == []
    assert list((pool.path / OWN / "made").iterdir()) == []


def test_foreign_volume_stays_for_any_records(keeper: RawKeeper, pool: TestPool) -> None:
    foreign = pool.path / "foreign.qcow2"
    foreign.write_bytes(qcow2())
    for kind in ("volume", "disk", "directory"):
        record(keeper, pool, kind, "foreign.qcow2")
    done = delete(keeper, pool, "foreign.qcow2")
    assert (done["names"], done["error"]) == ([], NOT_OURS)
    assert foreign.exists()


def test_foreign_volume_that_replaced_ours_stays(keeper: RawKeeper, pool: TestPool) -> None:
    path = placed(keeper, pool, "own.qcow2")
    # As qemu-img convert and mv do; the first one is kept, so that its inode is not used again.
    path.rename(pool.path / "kept")
    path.write_bytes(qcow2())
    assert delete(keeper, pool, "own.qcow2")["error"] == NOT_OURS
    assert path.exists()
    # Under its new name, nobody knows it either.
    assert delete(keeper, pool, "kept")["error"] == NOT_OURS


def test_foreign_volume_with_the_inode_of_ours_stays(keeper: RawKeeper, pool: TestPool) -> None:
    """Simulate "virsh vol-delete" and "virsh vol-create": ext4 reuses the inode at once."""
    path = placed(keeper, pool, "own.qcow2")
    inode = path.stat().st_ino
    path.unlink()
    with _file_with_inode(pool.path, inode) as new:
        new.write_bytes(qcow2())
        new.rename(path)
        assert path.stat().st_ino == inode
        assert delete(keeper, pool, "own.qcow2")["error"] == NOT_OURS
        assert path.exists()


@contextlib.contextmanager
def _file_with_inode(pool: Path, inode: int) -> Iterator[Path]:
    """A new file with this inode in a pool; others are made until one has it."""
    made = pool / ".virtlayer" / "tried"
    made.mkdir()
    try:
        for number in range(_INODES_TRIED):
            path = made / str(number)
            path.touch()
            if path.stat().st_ino == inode:
                yield path
                return
        pytest.skip("the file system does not use inodes again")
    finally:
        shutil.rmtree(made)


@pytest.mark.parametrize("name", ["own.qcow2", "tree"])
def test_link_in_the_place_of_ours_stays(keeper: RawKeeper, pool: TestPool, name: str) -> None:
    victim = pool.path.parent / f"victim-{pool.name}"
    victim.mkdir()
    (victim / "file").write_text("precious")
    path = placed(keeper, pool, name)
    path.unlink()
    path.symlink_to(victim)
    assert delete(keeper, pool, name)["error"] == NOT_OURS
    assert (victim / "file").read_text() == "precious"
    assert path.is_symlink()


def test_volume_in_use_stays(keeper: RawKeeper, pool: TestPool, host: LibvirtHost) -> None:
    path = placed(keeper, pool, "own.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", str(path) + ".base", "1M")
    path.write_bytes(Path(f"{path}.base").read_bytes())
    overlay = pool.path / "overlay.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(path), str(overlay))
    done = delete(keeper, pool, "own.qcow2")
    assert (done["names"], done["error"]) == ([], "InUse")
    assert "overlay.qcow2" in done["text"]
    overlay.unlink()
    xml = host.directory / "domain.xml"
    xml.write_text(DOMAIN.format(name="user-of-own", disk=path))
    host.virsh("define", str(xml))
    done = delete(keeper, pool, "own.qcow2")
    assert (done["error"], "user-of-own" in done["text"]) == ("InUse", True)
    assert path.exists()
    host.virsh("undefine", "user-of-own")
    assert delete(keeper, pool, "own.qcow2")["error"] == ""


def test_claimed_volume_stays(keeper: RawKeeper, pool: TestPool) -> None:
    path = placed(keeper, pool, "own.qcow2")
    claim = keeper.get("claim", pool=pool.uuid, claim=None, names=["own.qcow2"], build=[])["claim"]
    assert delete(keeper, pool, "own.qcow2")["error"] == "InUse"
    keeper.get("release", number=claim, failed=False)
    assert delete(keeper, pool, "own.qcow2")["error"] == ""
    assert not path.exists()


def test_missing_volume_is_not_ours(keeper: RawKeeper, pool: TestPool) -> None:
    assert delete(keeper, pool, "nothing")["error"] == NOT_OURS


def test_notes_of_deleted_volumes_are_swept(keeper: RawKeeper, pool: TestPool) -> None:
    placed(keeper, pool, "own.qcow2").unlink()
    kept = placed(keeper, pool, "kept.qcow2")
    keeper.get("sweep", pool=pool.uuid)
    [note] = (pool.path / OWN / "made").iterdir()
    assert str(note.readlink()).split()[0] == str(kept.stat().st_ino)
