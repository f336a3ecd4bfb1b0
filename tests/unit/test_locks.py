# SPDX-License-Identifier: LGPL-2.1-or-later
"""Locks on bytes of files: which description of a file excludes which, and mounts without locks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from virtlayer.keeper.calls import is_nfs
from virtlayer.keeper.kinds.directory.locks import is_locked, try_lock, unlock
from virtlayer.keeper.kinds.directory.network import local_locks

_HOLDER = """
import os, sys
from virtlayer.keeper.kinds.directory.locks import try_lock
file = os.open(sys.argv[1], os.O_RDWR)
print(try_lock(file), flush=True)
sys.stdin.read()
"""

_MOUNT = (
    "312 61 0:57 / /srv/images rw,relatime shared:173 - {kind} server:/export "
    "rw,{options},rsize=1048576,namlen=255,hard,proto=tcp,addr=192.0.2.1"
)


def test_a_lock_excludes_every_other_description_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open("r+b") as one, path.open("r+b") as other:
        assert not is_locked(other.fileno())
        assert try_lock(one.fileno())
        assert try_lock(one.fileno()), "its own lock excludes nobody"
        assert not is_locked(one.fileno())
        assert is_locked(other.fileno())
        assert not try_lock(other.fileno())
        copy = os.dup(one.fileno())
    with path.open("r+b") as other:
        assert not try_lock(other.fileno()), "a copy of the descriptor still has it"
        os.close(copy)
        assert try_lock(other.fileno())


def test_bytes_are_locked_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    last = 2**62
    with path.open("r+b") as one, path.open("r+b") as other:
        assert try_lock(one.fileno(), 0, 1)
        assert try_lock(one.fileno(), last, 1)
        assert try_lock(other.fileno(), last - 1, 1)
        assert not try_lock(other.fileno(), last, 1)
        unlock(one.fileno(), last, 1)
        assert try_lock(other.fileno(), last, 1)
        assert not try_lock(other.fileno(), 0, 1)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    argv = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with path.open("r+b") as file:
            assert not try_lock(file.fileno())
            holder.kill()
            holder.wait()
            assert try_lock(file.fileno())


@pytest.mark.parametrize(
    ("kind", "options", "problem"),
    [
        ("nfs4", "vers=4.2,local_lock=none", ""),
        ("nfs4", "vers=4.0", ""),
        ("nfs", "vers=3,local_lock=none", "vers=3"),
        ("nfs", "local_lock=none", "vers=3"),
        ("nfs4", "vers=4.1,local_lock=posix", "local_lock=posix"),
        ("nfs4", "vers=4.1,nolock,local_lock=all", "nolock"),
        ("nfs4", "vers=3", "vers=3"),
    ],
)
def test_a_mount_of_nfs_must_share_its_locks(kind: str, options: str, problem: str) -> None:
    assert local_locks(_MOUNT.format(kind=kind, options=options).split()) == problem


def test_a_mount_that_is_unknown_does_not_share_its_locks() -> None:
    assert local_locks([]) != ""


def test_a_local_file_system_is_not_nfs(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    assert not is_nfs(directory)
    os.close(directory)
