# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which layers go into which volume."""

import dataclasses
import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtlayer.errors import InvalidArgument, MalformedLayer
from virtlayer.service.chain.identity import geometry_id, volume_id
from virtlayer.service.chain.plan import plan_chain
from virtlayer.service.source.image import Layer

GIB = 1024**3


def some_layers(number: int) -> list[Layer]:
    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(number)]
    return [
        Layer(
            digest=f"sha256:{digest}",
            size=1,
            media_type="application/x-tar",
            diff_id=f"sha256:{digest[::-1]}",
        )
        for digest in digests
    ]


def pairs(layers: Sequence[Layer]) -> list[tuple[str, str]]:
    return [(layer.diff_id, layer.digest) for layer in layers]


def test_every_layer_has_its_own_volume_up_to_the_limit() -> None:
    layers = some_layers(3)
    plan = plan_chain(layers, GIB, 3)
    assert [volume.layers for volume in plan] == [(layer,) for layer in layers]
    assert [volume.parent for volume in plan] == [None, plan[0].name, plan[1].name]


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [(16, [1] * 11 + [25] + [1] * 4), (4, [1, 1, 37, 1]), (3, [1, 1, 38]), (2, [1, 39]), (1, [40])],
)
def test_the_first_and_the_last_layers_of_a_deep_image_have_their_own(
    limit: int, sizes: list[int]
) -> None:
    plan = plan_chain(some_layers(40), GIB, limit)
    assert [len(volume.layers) for volume in plan] == sizes


def test_another_last_layer_is_one_more_volume() -> None:
    layers = some_layers(41)
    one, other = plan_chain(layers[:40], GIB, 16), plan_chain(layers[:39] + layers[40:], GIB, 16)
    assert one[:-1] == other[:-1]
    assert one[-1].name != other[-1].name


def test_a_deeper_image_shares_the_first_volumes() -> None:
    layers = some_layers(41)
    short, long = plan_chain(layers[:40], GIB, 16), plan_chain(layers, GIB, 16)
    assert short[:11] == long[:11]
    assert {volume.name for volume in short[11:]}.isdisjoint(volume.name for volume in long[11:])


def test_another_limit_is_not_mixed_up_with_this_one() -> None:
    layers = some_layers(40)
    wide = {volume.name: volume for volume in plan_chain(layers, GIB, 24)}
    common = [volume for volume in plan_chain(layers, GIB, 16) if volume.name in wide]
    assert len(common) == 11
    assert all(wide[volume.name] == volume for volume in common)


def test_volume_of_another_blob_with_the_same_content_has_the_id_of_that_blob() -> None:
    image, other = some_layers(3), some_layers(3)
    image[0] = dataclasses.replace(image[0], digest="sha256:" + "0" * 64)
    plan = plan_chain(image, GIB, 16, [layer.digest for layer in other])
    assert [volume.name for volume in plan] == [
        volume.name for volume in plan_chain(other, GIB, 16)
    ]
    assert plan[0].layers == (image[0],)
    assert [volume.is_recompressed for volume in plan] == [True, False, False]


@given(st.integers(1, 60), st.integers(1, 30))
def test_a_plan_has_every_layer_once_in_order_and_keeps_the_limit(number: int, limit: int) -> None:
    layers = some_layers(number)
    plan = plan_chain(layers, GIB, limit)
    assert len(plan) == min(number, limit)
    assert [layer for volume in plan for layer in volume.layers] == layers
    assert [volume.parent for volume in plan] == [None, *(volume.name for volume in plan[:-1])]
    below = [geometry_id(GIB), *(volume.volume_id for volume in plan)]
    for parent, volume in zip(below, plan, strict=False):
        assert volume.below == parent
        assert volume.volume_id == volume_id(parent, pairs(volume.layers))
        assert not volume.is_recompressed


def test_an_image_without_layers_is_refused() -> None:
    with pytest.raises(MalformedLayer, match="no layers"):
        plan_chain([], GIB, 16)


def test_a_limit_of_no_volume_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="depth-limit"):
        plan_chain(some_layers(1), GIB, 0)
