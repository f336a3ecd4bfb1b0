# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pull replaces an image of another source only if the caller asks for it and may remove it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.bus.users import User
from tests.support import images
from tests.support.faulty_registry import Fault
from tests.support.libvirt_host import LibvirtHost
from tests.support.shared_pool import SharedPool, rules_for, shared_pool

pytestmark = pytest.mark.root
SHOWN = {"name": Variant("s", "shown")}
REPLACE = SHOWN | {"replace": Variant("b", True)}


@pytest.fixture
async def shared(host: LibvirtHost, tmp_path: Path) -> AsyncIterator[SharedPool]:
    """Games may pull, and news may remove and see everything as well."""
    async with shared_pool(host, tmp_path, rules_for("news", "remove", "read-details")) as pool:
        yield pool


async def volume(shared: SharedPool) -> str:
    """The top volume of the image."""
    return str((await shared.image(shared.games, "shown"))["Volume"])


async def refused(shared: SharedPool, who: User, source: str, **more: Variant) -> tuple[str, str]:
    options = {"tls-verify": Variant("b", False)} | more
    return await who.refused("Pull", "ssa{sv}", source, shared.pool, options)


async def error(shared: SharedPool, who: User, path: str) -> str:
    return str((await shared.end(who, path))["Error"]).rpartition(".")[2]


async def test_image_of_another_source_is_replaced_only_when_asked(shared: SharedPool) -> None:
    first, second = shared.store("one:1", "one"), shared.store("two:1", "two")
    await shared.pull(shared.news, first, **SHOWN)
    before = await volume(shared)
    name, text = await refused(shared, shared.news, second, **SHOWN)
    assert (name, '"shown"' in text, "--replace" in text) == ("ImageExists", True, True)
    # Not what it came from.
    assert first not in text
    assert await volume(shared) == before
    assert (await shared.pull(shared.news, second, **REPLACE))["outcome"] == "replaced"
    assert await volume(shared) != before


async def test_replacing_needs_the_right_to_remove(shared: SharedPool) -> None:
    first, second = shared.store("one:1", "one"), shared.store("two:1", "two")
    await shared.pull(shared.news, first, **SHOWN)
    before = await volume(shared)
    name, text = await refused(shared, shared.games, second, **REPLACE)
    assert (name, "org.virtlayer1.remove" in text) == ("NotAuthorized", True)
    assert (await refused(shared, shared.games, second, **SHOWN))[0] == "ImageExists"
    assert await volume(shared) == before


async def test_replace_is_refused_where_no_image_is_made(shared: SharedPool) -> None:
    source = shared.store("one:1", "one")
    options = REPLACE | {"format": Variant("s", "disk")}
    name, text = await refused(shared, shared.news, source, **options)
    assert (name, "--replace" in text) == ("InvalidArgument", True)


async def test_replaced_image_is_listed_until_pruned(shared: SharedPool) -> None:
    first, second = shared.store("one:1", "one"), shared.store("two:1", "two")
    await shared.pull(shared.news, first, **SHOWN)
    before = await volume(shared)
    await shared.pull(shared.news, second, **REPLACE)
    [version] = (await shared.image(shared.news, "shown"))["FormerVersions"]
    assert (version[0], version[2]) == (first, before)
    # Where it came from is not for everybody.
    assert "FormerVersions" not in await shared.image(shared.games, "shown")
    freed = await shared.done(shared.news, "Prune", "sa{sv}", shared.pool, {})
    assert freed["volumes"] == [before]
    assert (await shared.image(shared.news, "shown"))["FormerVersions"] == []


async def test_same_version_can_be_pulled_again_by_everybody(shared: SharedPool) -> None:
    source = shared.store("one:1", "one")
    await shared.pull(shared.news, source, **SHOWN)
    assert (await shared.pull(shared.games, source, **SHOWN))["outcome"] == "unchanged"


async def test_moved_tag_is_followed_only_with_the_right_to_remove(shared: SharedPool) -> None:
    source = shared.store("one:1", "old")
    await shared.pull(shared.news, source, **SHOWN)
    before = await volume(shared)
    shared.store("one:1", "new")
    path = await shared.begin_pull(shared.games, source, **SHOWN)
    assert await error(shared, shared.games, path) == "NotAuthorized"
    assert await volume(shared) == before
    assert (await shared.pull(shared.news, source, **SHOWN))["outcome"] == "updated"
    assert await volume(shared) != before


async def test_name_that_is_taken_meanwhile_is_not_replaced(shared: SharedPool) -> None:
    content = images.image([images.layer(images.file("slow"))])
    slow = shared.registry.store(content, "slow:1")
    shared.registry.faults[content.layer_digests[0]] = Fault.HANG
    path = await shared.begin_pull(shared.games, slow, **SHOWN)
    # The name was free when the call was answered.
    await shared.pull(shared.news, shared.store("two:1", "two"), **SHOWN)
    before = await volume(shared)
    shared.registry.faults.clear()
    shared.registry.release()
    assert await error(shared, shared.games, path) == "ImageExists"
    assert await volume(shared) == before
