# SPDX-License-Identifier: LGPL-2.1-or-later
"""TagImage gives an image of a pool another name, for users who may pull."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.bus.users import User
from tests.support.libvirt_host import LibvirtHost
from tests.support.shared_pool import SharedPool, rules_for, shared_pool

pytestmark = pytest.mark.root
REPLACE = {"replace": Variant("b", True)}
SIGNATURE = "sssa{sv}"


def named(name: str) -> dict[str, Variant]:
    return {"name": Variant("s", name)}


@pytest.fixture
async def shared(host: LibvirtHost, tmp_path: Path) -> AsyncIterator[SharedPool]:
    """Games may pull, and news may remove and see everything as well."""
    async with shared_pool(host, tmp_path, rules_for("news", "remove", "read-details")) as pool:
        yield pool


async def tag(
    shared: SharedPool, who: User, image: str, name: str, options: dict[str, Variant] | None = None
) -> None:
    reply = await who.ask("TagImage", SIGNATURE, shared.pool, image, name, options or {})
    assert reply == []


async def refused(
    shared: SharedPool, who: User, image: str, name: str, options: dict[str, Variant] | None = None
) -> tuple[str, str]:
    return await who.refused("TagImage", SIGNATURE, shared.pool, image, name, options or {})


async def test_image_has_both_names_and_its_layers_stay_for_the_other(shared: SharedPool) -> None:
    source = shared.store("one:1", "one")
    first = await shared.pull(shared.news, source, **named("one"))
    await tag(shared, shared.games, "one", "stable")
    assert await shared.names() == ["one", "stable"]
    before, after = [await shared.image(shared.news, name) for name in ("one", "stable")]
    same = ("Source", "Digest", "Volume", "Layers", "Config", "PulledAt", "Size")
    assert [after[key] for key in same] == [before[key] for key in same]
    # The same once more changes nothing.
    await tag(shared, shared.games, "one", "stable")
    assert (await shared.image(shared.news, "stable"))["FormerVersions"] == []
    freed = await shared.done(shared.news, "RemoveImage", "ssa{sv}", shared.pool, "one", {})
    assert freed["volumes"] == []
    assert await shared.names() == ["stable"]
    freed = await shared.done(shared.news, "RemoveImage", "ssa{sv}", shared.pool, "stable", {})
    assert freed["volumes"] == first["volumes"]


async def test_tagging_does_not_show_private_properties(shared: SharedPool) -> None:
    await shared.pull(shared.news, shared.store("one:1", "one"), **named("one"))
    await tag(shared, shared.games, "one", "mine")
    assert "Source" not in await shared.image(shared.games, "mine")
    assert "Config" not in await shared.image(shared.games, "one")


async def test_name_of_another_image_is_replaced_only_when_asked_and_allowed(
    shared: SharedPool,
) -> None:
    await shared.pull(shared.news, shared.store("one:1", "one"), **named("one"))
    await shared.pull(shared.news, shared.store("two:1", "two"), **named("two"))
    one, two = [(await shared.image(shared.games, name))["Volume"] for name in ("one", "two")]
    for who in (shared.games, shared.news):
        error, text = await refused(shared, who, "one", "two")
        assert (error, '"two"' in text, "--replace" in text) == ("ImageExists", True, True)
    error, text = await refused(shared, shared.games, "one", "two", REPLACE)
    assert (error, "org.virtlayer1.remove" in text) == ("NotAuthorized", True)
    assert (await shared.image(shared.games, "two"))["Volume"] == two
    await tag(shared, shared.news, "one", "two", REPLACE)
    shown = await shared.image(shared.news, "two")
    assert (shown["Volume"], shown["FormerVersions"][0][2]) == (one, two)


async def test_missing_image_cannot_be_tagged(shared: SharedPool) -> None:
    error, text = await refused(shared, shared.games, "nothing", "other")
    assert (error, '"nothing"' in text) == ("ImageNotFound", True)
    error, _ = await shared.games.refused("TagImage", SIGNATURE, "nowhere", "one", "other", {})
    assert error == "PoolNotFound"


async def test_invalid_names_and_options_are_refused(shared: SharedPool) -> None:
    await shared.pull(shared.news, shared.store("one:1", "one"), **named("one"))
    for name in ("", "a\nb", "x" * 256):
        assert (await refused(shared, shared.games, "one", name))[0] == "InvalidArgument"
    unknown = {"force": Variant("b", True)}
    assert (await refused(shared, shared.games, "one", "two", unknown))[0] == "UnknownOption"
    wrong = {"replace": Variant("s", "yes")}
    assert (await refused(shared, shared.games, "one", "two", wrong))[0] == "InvalidArgument"
    assert await shared.names() == ["one"]


async def test_tagging_needs_the_right_to_pull(host: LibvirtHost, tmp_path: Path) -> None:
    async with shared_pool(host, tmp_path, rules_for("news", "pull")) as shared:
        await shared.pull(shared.news, shared.store("one:1", "one"), **named("one"))
        error, text = await refused(shared, shared.games, "one", "two")
        assert (error, "org.virtlayer1.pull" in text) == ("NotAuthorized", True)
        assert await shared.names() == ["one"]


async def test_new_name_is_announced(shared: SharedPool) -> None:
    await shared.pull(shared.news, shared.store("one:1", "one"), **named("one"))
    await shared.games.listen()
    await tag(shared, shared.news, "one", "two")
    await shared.games.ask("ListJobs")
    assert "InterfacesAdded" in [message.member for message in shared.games.signals]
