# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ids of layer volumes: stable, and decided by everything in them and below."""

import hashlib
import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.service.chain.identity import geometry_id, volume_id, volume_name

GIB = 1024**3
A, B, C = ((f"sha256:{letter * 64}", f"sha256:{letter * 63}0") for letter in "abc")
"""Diff id and digest of the blob of some layers."""

digests = st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}")
layers = st.lists(st.tuples(digests, digests), max_size=8)


def chain_ids(geometry: str, layers: Sequence[tuple[str, str]]) -> list[str]:
    """The ids of volumes with a layer each, base first."""
    ids = itertools.accumulate(layers, lambda below, own: volume_id(below, [own]), initial=geometry)
    return list(ids)[1:]


def test_an_id_is_the_hash_of_its_parent_its_diff_id_and_its_blob() -> None:
    geometry = geometry_id(16 * GIB)
    first = hashlib.sha256(f"{geometry} {A[0]} {A[1]}".encode()).hexdigest()
    second = hashlib.sha256(f"{first} {B[0]} {B[1]}".encode()).hexdigest()
    assert chain_ids(geometry, [A, B]) == [first, second]


def test_same_diff_id_from_another_blob_is_another_layer() -> None:
    geometry = geometry_id(GIB)
    assert volume_id(geometry, [A]) != volume_id(geometry, [(A[0], B[1])])


def test_the_geometry_is_a_part_of_every_id() -> None:
    small, large = geometry_id(16 * GIB), geometry_id(17 * GIB)
    assert len(small) == len(large) == 64
    assert set(chain_ids(small, [A, B])).isdisjoint(chain_ids(large, [A, B]))


def test_the_same_layer_on_another_parent_is_another_one() -> None:
    geometry = geometry_id(GIB)
    assert chain_ids(geometry, [A, C])[1] != chain_ids(geometry, [B, C])[1]


def test_a_layer_that_repeats_has_an_id_each_time() -> None:
    assert len(set(chain_ids(geometry_id(GIB), [A, A, A]))) == 3


def test_layers_that_share_a_volume_are_not_those_that_have_their_own() -> None:
    geometry = geometry_id(GIB)
    shared = [volume_id(geometry, [A, B, C]), *chain_ids(volume_id(geometry, [A, B]), [C])]
    assert len({*shared, *chain_ids(geometry, [A, B, C])}) == 5


@given(layers, layers)
def test_images_share_the_ids_of_their_common_first_layers(
    common: list[tuple[str, str]], rest: list[tuple[str, str]]
) -> None:
    geometry = geometry_id(GIB)
    assert chain_ids(geometry, common + rest)[: len(common)] == chain_ids(geometry, common)


def test_the_name_of_a_volume_is_one_that_libvirt_and_apparmor_take() -> None:
    identity = volume_id(geometry_id(GIB), [A])
    name = volume_name(identity, ".qcow2")
    assert name == f"layer-{identity}.qcow2"
    assert ":" not in name
    assert is_layer_volume(name)


def test_other_names_are_not_those_of_layers() -> None:
    name = volume_name("a" * 64, ".qcow2")
    for other in (
        name.upper(),
        name[:-1],
        name[:-6][:-1],
        f"{name}\n",
        f"x{name}",
        name.replace("a", "g"),
        "",
    ):
        assert not is_layer_volume(other)
