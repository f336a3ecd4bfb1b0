# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owners of content in the catalog, and the content that a pull may use."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.records import image_record, layer_record, remember
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.chain.plan import plan_chain
from virtlayer.service.operations.belonging import Belonging
from virtlayer.service.records.owners import EVERYBODY, Owner, OwnerKind
from virtlayer.service.records.values import BuiltLayer
from virtlayer.service.source.image import Layer
from virtlayer.service.source.obtained import Obtained

DEMO = image_record()
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
TEAM = Obtained(
    registry="registry.example",
    repository="registry.example/team",
    with_credentials=True,
    verified=True,
)
OTHER = dataclasses.replace(TEAM, repository="registry.example/other")
ANONYMOUS = dataclasses.replace(OTHER, with_credentials=False)
UNVERIFIED = dataclasses.replace(TEAM, verified=False)
LOCAL = Obtained(registry=None, repository=None, with_credentials=False, verified=False)


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with Catalog(tmp_path / "catalog.sqlite") as catalog:
        yield catalog


def pull(catalog: Catalog, obtained: Obtained, *, uid: int = 1000) -> Belonging:
    return Belonging(catalog, obtained, uid, "default", shared=False)


async def may_use(belonging: Belonging, digest: str = A) -> bool:
    return await belonging.may_use([digest]) == {digest}


async def test_content_without_an_owner_is_not_reused(catalog: Catalog) -> None:
    for obtained in (TEAM, ANONYMOUS, LOCAL):
        assert not await may_use(pull(catalog, obtained))


async def test_content_belongs_to_its_repository(catalog: Catalog) -> None:
    await pull(catalog, TEAM).downloaded(A)
    assert await may_use(pull(catalog, TEAM, uid=1001))
    assert await may_use(pull(catalog, dataclasses.replace(TEAM, with_credentials=False)))
    for obtained in (OTHER, ANONYMOUS, UNVERIFIED, LOCAL):
        assert not await may_use(pull(catalog, obtained))
    assert await pull(catalog, TEAM).may_use([A, B]) == {A}


async def test_repository_that_was_not_verified_owns_nothing(catalog: Catalog) -> None:
    await pull(catalog, UNVERIFIED).downloaded(A)
    for obtained in (TEAM, UNVERIFIED):
        assert not await may_use(pull(catalog, obtained))


async def test_second_repository_owns_content_downloaded_from_it(catalog: Catalog) -> None:
    for obtained in (TEAM, OTHER, OTHER):
        await pull(catalog, obtained).downloaded(A)
    for obtained in (TEAM, OTHER):
        assert await may_use(pull(catalog, obtained))


@pytest.mark.parametrize("verified", [True, False])
async def test_content_obtained_without_credentials_is_shared(
    catalog: Catalog, verified: bool
) -> None:
    await pull(catalog, TEAM).downloaded(A)
    await pull(catalog, dataclasses.replace(ANONYMOUS, verified=verified)).downloaded(A)
    for obtained in (TEAM, OTHER, ANONYMOUS, UNVERIFIED, LOCAL):
        assert await may_use(pull(catalog, obtained))


async def test_content_of_a_local_source_belongs_to_its_caller(catalog: Catalog) -> None:
    await pull(catalog, LOCAL, uid=1000).downloaded(A)
    assert await may_use(pull(catalog, LOCAL, uid=1000))
    assert not await may_use(pull(catalog, LOCAL, uid=1001))
    assert not await may_use(pull(catalog, LOCAL, uid=0))
    assert not await may_use(pull(catalog, TEAM, uid=1000))


async def test_everything_is_shared_in_a_session(catalog: Catalog) -> None:
    session = Belonging(catalog, TEAM, 1000, "default", shared=True)
    assert await session.may_use([A, B]) == {A, B}
    await session.downloaded(A)
    assert not await may_use(pull(catalog, TEAM))


async def test_config_is_known_only_to_its_owners(catalog: Catalog) -> None:
    await remember(catalog, "default", DEMO)
    await pull(catalog, TEAM).downloaded(DEMO.image_id)
    assert await pull(catalog, TEAM).known_config(DEMO.image_id) == DEMO.config
    assert await pull(catalog, OTHER).known_config(DEMO.image_id) is None


async def test_layers_of_others_are_unproven(catalog: Catalog) -> None:
    layers = [Layer(digest, 1, "", digest.upper()) for digest in (A, B, A)]
    plan = plan_chain(layers, 2**30, 16)
    await pull(catalog, TEAM).downloaded(B)
    assert await pull(catalog, TEAM).unproven(plan) == (layers[0],)
    assert await pull(catalog, OTHER).unproven(plan) == tuple(layers[:2])
    # That volume was planned because the pull may use the blob C.
    recompressed = plan_chain(layers[:1], 2**30, 16, [C])
    assert await pull(catalog, OTHER).unproven(recompressed) == ()


async def test_owners_of_deleted_content_are_dropped(catalog: Catalog) -> None:
    for digest in (A, B, C, DEMO.image_id):
        await catalog.owners.add(digest, EVERYBODY)
    await remember(catalog, "default", DEMO)
    layer = dataclasses.replace(layer_record("b"), layers=(BuiltLayer(A, B, 1),))
    await remember(catalog, "default", layer)
    await catalog.owners.keep([A])
    kept = await catalog.owners.belonging([A, B, C, DEMO.image_id], [EVERYBODY])
    assert kept == {A, B, DEMO.image_id}


async def test_owner_of_one_kind_is_not_that_of_another(catalog: Catalog) -> None:
    await catalog.owners.add(A, Owner(OwnerKind.USER, "1000"))
    assert await catalog.owners.belonging([A], [Owner(OwnerKind.REPOSITORY, "1000")]) == frozenset()


async def test_owners_in_a_record_apply_only_to_its_pool(catalog: Catalog) -> None:
    text = image_record(owners=frozenset({EVERYBODY}))
    layer = layer_record("a", "blob", owners=[EVERYBODY])
    blob = layer.layers[0].blob
    await remember(catalog, "default", text, layer)
    await remember(catalog, "other", image_record(), layer_record("a", "blob"))
    for obtained in (TEAM, OTHER, ANONYMOUS, UNVERIFIED, LOCAL):
        here = pull(catalog, obtained)
        elsewhere = Belonging(catalog, obtained, 1000, "other", shared=False)
        assert await here.may_use_in_pool([blob, A]) == {blob}
        assert await elsewhere.may_use_in_pool([blob]) == frozenset()
        # The cache is no pool's.
        assert await here.may_use([blob]) == frozenset()
        assert await here.known_config(text.image_id) == text.config
        assert await elsewhere.known_config(text.image_id) is None
    assert await pull(catalog, TEAM).owners(blob) == {EVERYBODY}
    assert await Belonging(catalog, TEAM, 1000, "other", shared=False).owners(blob) == frozenset()


async def test_config_of_another_pool_is_not_given_away(catalog: Catalog) -> None:
    """A record that says whose a config is must have the config."""
    await remember(catalog, "other", DEMO)
    lie = BuiltLayer(A, DEMO.image_id, 1, frozenset({EVERYBODY}))
    await remember(catalog, "default", dataclasses.replace(layer_record("a"), layers=(lie,)))
    assert await pull(catalog, TEAM).known_config(DEMO.image_id) is None


async def test_downloaded_content_has_owners_in_every_pool(catalog: Catalog) -> None:
    await pull(catalog, TEAM).downloaded(A)
    elsewhere = Belonging(catalog, TEAM, 1000, "other", shared=False)
    assert await elsewhere.may_use_in_pool([A]) == {A}
