# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service cannot exchange what machines on RBD pools boot with."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import claim_of
from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host
from tests.support.raw_keeper import RawKeeper, raw_keeper

CONTENT = b"070701 an initrd"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def host() -> Iterator[LibvirtHost]:
    """A libvirtd of the test's own, whose machines virtlayer makes."""
    with machine_host() as host:
        yield host


@pytest.fixture
def keeper(host: LibvirtHost) -> Iterator[RawKeeper]:
    """A keeper among the files of that libvirtd."""
    with raw_keeper(host.uri, inside=host.as_owner()) as running:
        yield running


@pytest.fixture
def images(host: LibvirtHost, keeper: RawKeeper, pool: CephPool) -> TestPool:
    """The pool of the test, which the keeper knows."""
    pool.define_in(host, pool.name)
    found = keeper.get("find-pool", name=pool.name)
    return TestPool(pool.name, found["uuid"], Path(found["path"]))


def staged(keeper: RawKeeper, images: TestPool, content: bytes = CONTENT) -> int:
    """Let a worker have written a file; return the staging place."""
    claim = claim_of(keeper, images)
    place = keeper.get("stage", pool=images.uuid, claim=claim, purpose="boot")
    [file] = [
        one
        for one in Path(f"/proc/{keeper.process.pid}/fd").iterdir()
        if "/boot/.new-" in str(one.readlink())
    ]
    file.write_bytes(content)
    return int(place["staging"])


@pytest.mark.root
def test_content_under_another_name_is_refused(
    keeper: RawKeeper, images: TestPool, ceph: OneNodeCeph
) -> None:
    staging = staged(keeper, images)
    place: dict[str, Any] = {"staging": staging, "file": "disk", "build": None}
    assert keeper.ask("place", name=f"initrd-{DIGEST}", **place).error == "Internal"
    keeper.get("flush", staging=staging, file="disk")
    assert keeper.ask("flush", staging=staging, file="disk").error == "Internal"
    for name in (f"initrd-{'0' * 64}", f"kernel-{DIGEST.upper()}", f"layer-{DIGEST}", "vmlinuz"):
        assert keeper.ask("place", name=name, **place).error == "Internal", name
    overlay: dict[str, Any] = {"file": "v1", "size": 2**20, "backing": None}
    assert keeper.ask("create-overlay", staging=staging, **overlay).error == "Internal"
    assert all("unfinished" in name for name in ceph.images(images.name))
    assert keeper.get("place", name=f"initrd-{DIGEST}", **place)["ours"] is True
    assert ceph.images(images.name) == [f"initrd-{DIGEST}"]


@pytest.mark.root
def test_unfinished_boot_file_leaves_nothing(
    host: LibvirtHost, keeper: RawKeeper, images: TestPool, ceph: OneNodeCeph
) -> None:
    staging = staged(keeper, images)
    keeper.get("flush", staging=staging, file="disk")
    keeper.get("release", number=staging, failed=True)
    assert ceph.images(images.name) == []
    assert list((host.directory / "private/var/lib/virtlayer/boot").iterdir()) == []
