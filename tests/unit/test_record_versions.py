# SPDX-License-Identifier: LGPL-2.1-or-later
"""The former versions of a name: which a pull makes, keeps and forgets."""

import dataclasses

from tests.support.records import image_record, layer_name
from virtlayer.service.records.former_versions import replaced, without
from virtlayer.service.records.owners import EVERYBODY
from virtlayer.service.records.values import ImageRecord


def pulled(*tops: str, keep: int | None = None, before: ImageRecord | None = None) -> ImageRecord:
    for now, top in enumerate(tops, start=10):
        before = replaced(before, image_record(top), frozenset(), now, keep=keep)
    assert before is not None
    return before


def kept(record: ImageRecord) -> dict[str, bool]:
    return {version.volume: version.kept for version in record.former}


def test_former_image_becomes_a_version() -> None:
    record = pulled("one", "two")
    assert record == dataclasses.replace(image_record("two"), former=record.former)
    [version] = record.former
    one = image_record("one")
    assert (version.source, version.digest, version.config) == (one.source, one.digest, one.config)
    assert version.volume == one.volume
    assert version.volumes == (layer_name("base"), layer_name("one"))
    assert (version.pulled_at, version.replaced_at) == (one.pulled_at, 11)
    assert not version.kept


def test_the_same_again_makes_no_version() -> None:
    assert pulled("one", "one", keep=3).former == ()


def test_the_configured_number_of_versions_is_kept() -> None:
    one, two, three = map(layer_name, ("one", "two", "three"))
    record = pulled("one", "two", "three", "four", keep=2)
    assert kept(record) == {three: True, two: True, one: False}
    assert kept(pulled("four", before=record, keep=0)) == {three: False, two: False, one: False}


def test_manual_pull_keeps_former_versions() -> None:
    record = pulled("three", before=pulled("one", "two", keep=1))
    assert kept(record) == {layer_name("two"): False, layer_name("one"): True}


def test_reverted_name_is_not_its_own_former_version() -> None:
    assert kept(pulled("one", "two", "one", keep=5)) == {layer_name("two"): True}


def test_version_is_dropped_when_any_of_its_volumes_is() -> None:
    record = pulled("one", "two", "three", keep=5)
    assert without(record, ["elsewhere"]) == record
    assert kept(without(record, [layer_name("one")])) == {layer_name("two"): True}
    assert kept(without(record, [layer_name("base")])) == {}


def test_all_pullers_of_an_image_are_recorded() -> None:
    record = replaced(None, image_record(pulled_by=frozenset({1000})), frozenset(), 1)
    record = replaced(record, image_record(pulled_by=frozenset({1001})), frozenset(), 2)
    assert record.pulled_by == {1000, 1001}
    other = image_record(pulled_by=frozenset({1002}), source="docker://other/demo:1")
    assert replaced(record, other, frozenset(), 3).pulled_by == {1002}
    moved = replaced(record, image_record("new", pulled_by=frozenset({1002})), frozenset(), 3)
    assert moved.pulled_by == {1002}
    assert moved.former[0].pulled_by == {1000, 1001}
    back = replaced(moved, image_record(pulled_by=frozenset({1003})), frozenset(), 4)
    assert back.pulled_by == {1000, 1001, 1003}


def test_owners_are_those_of_the_same_config() -> None:
    record = replaced(None, image_record(), frozenset({EVERYBODY}), 1)
    assert replaced(record, image_record(), frozenset(), 2).owners == {EVERYBODY}
    assert replaced(record, image_record("new"), frozenset(), 2).owners == frozenset()
