# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layer ids: stable, and decided by everything below a layer."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from virtlayer.chain.identity import geometry_id, is_layer_volume, layer_ids, volume_name

GIB = 1024**3
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")

digests = st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}")


def test_an_id_is_the_hash_of_its_parent_and_its_diff_id() -> None:
    geometry = geometry_id(16 * GIB)
    first = hashlib.sha256(f"{geometry} {A}".encode()).hexdigest()
    second = hashlib.sha256(f"{first} {B}".encode()).hexdigest()
    assert layer_ids(geometry, [A, B]) == (first, second)


def test_the_geometry_is_a_part_of_every_id() -> None:
    small, large = geometry_id(16 * GIB), geometry_id(17 * GIB)
    assert len(small) == len(large) == 64
    assert set(layer_ids(small, [A, B])).isdisjoint(layer_ids(large, [A, B]))


def test_the_same_layer_on_another_parent_is_another_one() -> None:
    geometry = geometry_id(GIB)
    assert layer_ids(geometry, [A, C])[1] != layer_ids(geometry, [B, C])[1]


def test_a_layer_that_repeats_has_an_id_each_time() -> None:
    assert len(set(layer_ids(geometry_id(GIB), [A, A, A]))) == 3


@given(st.lists(digests, max_size=8), st.lists(digests, max_size=8))
def test_images_share_the_ids_of_their_common_first_layers(
    common: list[str], rest: list[str]
) -> None:
    geometry = geometry_id(GIB)
    assert layer_ids(geometry, common + rest)[: len(common)] == layer_ids(geometry, common)


def test_the_name_of_a_volume_is_one_that_libvirt_and_apparmor_take() -> None:
    (layer_id,) = layer_ids(geometry_id(GIB), [A])
    name = volume_name(layer_id)
    assert name == f"layer-{layer_id}.qcow2"
    assert ":" not in name
    assert is_layer_volume(name)


def test_other_names_are_not_those_of_layers() -> None:
    name = volume_name("a" * 64)
    for other in (name.upper(), name[:-1], f"{name}\n", f"x{name}", name.replace("a", "g"), ""):
        assert not is_layer_volume(other)
