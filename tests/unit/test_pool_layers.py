# SPDX-License-Identifier: LGPL-2.1-or-later
"""In which order layers of a pool are deleted, whatever another host has put there."""

from collections.abc import Mapping
from pathlib import Path

from tests.support.records import layer_name
from virtlayer.protocol.pools import Pool, Usage, Volume
from virtlayer.service.operations.layers import PoolLayers

_POOL = Pool("pool", "uuid", "dir", Path("/pool"))


def _layers(backing: Mapping[str, str | None]) -> PoolLayers:
    """A pool with layers, each based on another one or on nothing."""
    volumes = {
        name: Volume(
            name=name,
            path=_POOL.path / name,
            format="qcow2",
            capacity=1,
            allocation=1,
            backing_path=None if below is None else _POOL.path / below,
            backing_format=None if below is None else "qcow2",
        )
        for name, below in backing.items()
    }
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
