# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which layers go into which volume."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtlayer.chain.identity import geometry_id, layer_ids, volume_name
from virtlayer.chain.plan import plan_chain
from virtlayer.errors import InvalidArgument, MalformedLayer
from virtlayer.source.image import Layer

GIB = 1024**3


def some_layers(number: int) -> list[Layer]:
    digests = [f"sha256:{hashlib.sha256(bytes([n])).hexdigest()}" for n in range(number)]
    return [
        Layer(digest=digest, size=1, media_type="application/x-tar", diff_id=digest)
        for digest in digests
    ]


def test_every_layer_has_its_own_volume_up_to_the_limit() -> None:
    layers = some_layers(3)
    plan = plan_chain(layers, GIB, 3)
    ids = layer_ids(geometry_id(GIB), [layer.diff_id for layer in layers])
    assert [volume.layer_id for volume in plan] == list(ids)
    assert [volume.layers for volume in plan] == [(layer,) for layer in layers]
    assert [volume.parent for volume in plan] == [None, plan[0].name, plan[1].name]


def test_the_last_volume_takes_the_rest() -> None:
    layers = some_layers(40)
    plan = plan_chain(layers, GIB, 16)
    assert len(plan) == 16
    assert plan[-1].layers == tuple(layers[15:])
    assert plan[-1].parent == plan[-2].name


def test_one_volume_can_take_all() -> None:
    layers = some_layers(4)
    (volume,) = plan_chain(layers, GIB, 1)
    assert volume.layers == tuple(layers)
    assert volume.parent is None


def test_a_longer_image_shares_all_but_the_merged_volume() -> None:
    layers = some_layers(41)
    short, long = plan_chain(layers[:40], GIB, 16), plan_chain(layers, GIB, 16)
    assert short[:-1] == long[:-1]
    assert short[-1].name != long[-1].name


@given(st.integers(1, 60), st.integers(1, 30))
def test_a_plan_has_every_layer_once_in_order_and_keeps_the_limit(number: int, limit: int) -> None:
    layers = some_layers(number)
    plan = plan_chain(layers, GIB, limit)
    assert len(plan) == min(number, limit)
    assert [layer for volume in plan for layer in volume.layers] == layers
    assert [volume.parent for volume in plan[1:]] == [volume.name for volume in plan[:-1]]
    top = layer_ids(geometry_id(GIB), [layer.diff_id for layer in layers])[-1]
    assert plan[-1].name == volume_name(top)


def test_an_image_without_layers_is_refused() -> None:
    with pytest.raises(MalformedLayer, match="no layers"):
        plan_chain([], GIB, 16)


def test_a_limit_of_no_volume_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="depth-limit"):
        plan_chain(some_layers(1), GIB, 0)
