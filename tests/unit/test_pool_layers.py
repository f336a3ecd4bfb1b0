# SPDX-License-Identifier: LGPL-2.1-or-later
"""In which order layers of a pool are deleted, whatever another host has put there."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.support.records import layer_name
from virtlayer.protocol.codec import encode
from virtlayer.protocol.pools import ChainVolume, Pool, Usage, Volume
from virtlayer.service.operations.layers import PoolLayers

_POOL = Pool("pool", "uuid", "dir", Path("/pool"))


def _layers(backing: Mapping[str, str | None]) -> PoolLayers:
    """A pool with layers, each based on another one or on nothing."""
    volumes = {name: ChainVolume(1, below) for name, below in backing.items()}
    return PoolLayers(
        pool=_POOL,
        known=frozenset(volumes),
        usage=Usage(volumes, {}),
        images=(),
        versions=(),
    )


def test_layers_on_top_are_deleted_first() -> None:
    base, one, two, top = (layer_name(text) for text in ("base", "one", "two", "top"))
    layers = _layers({one: base, base: None, top: one, two: base})
    order = layers.removable(layers.known, ())
    assert (order[0], set(order[1:3]), order[3]) == (top, {one, two}, base)


def test_chain_of_any_length_is_ordered_in_linear_time() -> None:
    """In quadratic time, this would take minutes, in which the service does nothing else."""
    names = [layer_name(str(number)) for number in range(30_000)]
    layers = _layers(dict(zip(names, [None, *names], strict=False)))
    assert layers.removable(layers.known, ()) == tuple(reversed(names))


def test_layers_that_stand_on_each_other_are_ordered() -> None:
    one, two = layer_name("one"), layer_name("two")
    layers = _layers({one: two, two: one})
    assert set(layers.removable(layers.known, ())) == {one, two}


def test_keeper_says_of_a_volume_only_what_a_deletion_needs() -> None:
    """A removal gets this for each volume of the pool."""
    base, top = layer_name("base"), layer_name("top")
    pool = Pool("pool", "uuid", "dir", Path(f"/{'long' * 50}"))
    volume = Volume(top, pool.path / top, "qcow2", 2, 1, pool.path / base, "qcow2")
    assert volume.in_chain(pool) == ChainVolume(1, base)
    assert len(json.dumps(encode(volume.in_chain(pool)))) < 150


def test_backing_volume_of_another_directory_is_not_of_the_pool() -> None:
    for path in ("/pool/x/base", "/other/base", "/base", "base", "/pool"):
        volume = Volume("top", Path("/pool/top"), "qcow2", 2, 1, Path(path), "qcow2")
        assert volume.backing_in(_POOL) is None
    volume = Volume("top", Path("/pool/top"), "qcow2", 2, 1, Path("/pool/base"), "qcow2")
    assert volume.backing_in(_POOL) == "base"
    images = Pool("images", "uuid", "rbd", Path("images"))
    volume = Volume("top", Path("images/top"), "raw", 2, 1, Path("images/base"), "raw")
    assert volume.backing_in(images) == "base"
