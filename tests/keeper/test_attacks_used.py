# SPDX-License-Identifier: LGPL-2.1-or-later
"""A compromised service deletes nothing that is used, although it made it."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import delete, directory_of, staged, write
from tests.support.raw_keeper import RawKeeper
from virtlayer.errors import Internal
from virtlayer.keeper.answers import holdings
from virtlayer.keeper.kinds.directory.claims import DirectoryClaim
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.protocol.pools import Pool

_LAYER = f"layer-{'5' * 64}.qcow2"


def _place_layer(keeper: RawKeeper, pool: TestPool) -> Path:
    """Have a layer made; nothing uses it yet."""
    staging = staged(keeper, pool, "layers")
    image = write(pool, "v1", b"")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    keeper.get("flush", staging=staging, file="v1")
    keeper.get("place", staging=staging, file="v1", name=_LAYER, build=None)
    keeper.get("release", number=staging, failed=False)
    return pool.path / _LAYER


def _overlay(pool: TestPool) -> Path:
    """A user's overlay of the layer."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", _LAYER, "-F", "qcow2"]
    subprocess.run([*command, "guest.qcow2"], check=True, cwd=pool.path)
    return pool.path / "guest.qcow2"


def test_a_layer_that_something_uses_is_not_withdrawn(keeper: RawKeeper, pool: TestPool) -> None:
    layer = _place_layer(keeper, pool)
    guest = _overlay(pool)
    assert keeper.ask("withdraw", pool=pool.uuid, name=_LAYER).error == "InUse"
    assert layer.exists()
    guest.unlink()
    keeper.get("withdraw", pool=pool.uuid, name=_LAYER)
    assert not layer.exists()


@pytest.mark.parametrize(
    "wrong",
    [{"backing": f"layer-{'6' * 64}.qcow2"}, {"formats": ["raw"]}],
    ids=["backing", "formats"],
)
def test_a_layer_that_something_uses_is_not_removed_for_a_wrong_description(
    keeper: RawKeeper, pool: TestPool, wrong: dict[str, Any]
) -> None:
    layer = _place_layer(keeper, pool)
    guest = _overlay(pool)
    volumes = [{"name": _LAYER, "backing": None, "formats": ["qcow2"], **wrong}]
    assert keeper.ask("register", pool=pool.uuid, volumes=volumes).error == "InUse"
    assert layer.exists()
    guest.unlink()
    assert keeper.ask("register", pool=pool.uuid, volumes=volumes).error == "Libvirt"
    assert not layer.exists()


def test_an_old_look_at_the_users_does_not_count_after_a_volume_was_placed(
    keeper: RawKeeper, pool: TestPool
) -> None:
    base = pool.layer("1")
    assert keeper.get("users", pool=pool.uuid, names=[base])["users"] == {}
    staging = staged(keeper, pool, "volume")
    created = keeper.get(
        "create-overlay", staging=staging, file="volume.qcow2", size=2**26, backing=base
    )
    assert created == {"status": 0, "stderr": ""}
    assert (directory_of(pool) / "volume.qcow2").exists()
    keeper.get("place", staging=staging, file="volume.qcow2", name="guest.qcow2", build=None)
    reply = delete(keeper, pool, base)
    assert (reply["names"], reply["error"]) == ([], "InUse")
    assert (pool.path / base).exists()
    keeper.get("release", number=staging, failed=False)


def test_a_look_at_the_users_before_the_pool_was_locked_does_not_count(
    keeper: RawKeeper, pool: TestPool
) -> None:
    """Meanwhile, a job of another host can place a volume and end."""
    layer = _place_layer(keeper, pool)
    assert keeper.get("users", pool=pool.uuid, names=[_LAYER])["users"] == {}
    _overlay(pool)
    reply = delete(keeper, pool, _LAYER)
    assert (reply["names"], reply["error"]) == ([], "InUse")
    assert layer.exists()


async def test_a_volume_is_withdrawn_only_while_it_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Pool("images", "uuid", "dir", Path("/pool"))
    held, claim = holdings.Holdings(), DirectoryClaim(pool)
    held.add_placed(claim, Placed(pool.path / "guest", True, (1, 2)))
    held.add_placed(claim, Placed(pool.path / _LAYER, True, (1, 3)))
    assert held.placed(pool, "guest").ours
    now = asyncio.get_running_loop().time() + holdings.OURS_SECONDS + 1
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    assert not held.placed(pool, "guest").ours
    # Whether a layer is used is looked up instead.
    assert held.placed(pool, _LAYER).ours
    with pytest.raises(Internal, match="was not placed on this connection"):
        held.placed(pool, "other")
