# SPDX-License-Identifier: LGPL-2.1-or-later
"""The result of a pull: the changes, and the purpose of the image."""

import itertools
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import Variant

from tests.support.faulty_registry import FaultyRegistry
from tests.support.images import (
    Content,
    LayerContent,
    directory,
    file,
    image,
    index,
    layer,
    write_layout,
)
from tests.support.job_watch import Watch, watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.virtlayerd import Daemon

_numbers = itertools.count(1)
HOST = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
FOREIGN = "arm64" if HOST == "amd64" else "amd64"


@pytest.fixture
async def watch(daemon: Daemon) -> AsyncIterator[Watch]:
    async with watching(daemon.bus.address) as client:
        yield client
    assert daemon.programs == set()


@pytest.fixture
def pool(host: LibvirtHost) -> Iterator[str]:
    name = f"results-{next(_numbers)}"
    host.start_pool(name)
    yield name
    host.stop_pool(name)


def one_layer() -> LayerContent:
    """A layer that no other image has."""
    seed = random.Random(next(_numbers))  # noqa: S311 -- no secret
    return layer(directory("d"), file("d/f", seed.randbytes(1000)))


async def result(watch: Watch, source: str, pool: str, **options: Variant) -> dict[str, Any]:
    job = await watch.finished(await watch.pull(source, pool, **options))
    assert job["State"] == "done", job["Message"]
    found: dict[str, Any] = job["Result"]
    return found


async def error(watch: Watch, source: str, pool: str, **options: Variant) -> str:
    job = await watch.finished(await watch.pull(source, pool, **options))
    assert job["State"] == "failed", job["Result"]
    return str(job["Error"]).rpartition(".")[2]


# ---- what has changed ----


async def test_outcome_shows_the_changes_of_a_pull(
    watch: Watch, registry: FaultyRegistry, pool: str, host: LibvirtHost
) -> None:
    name = Variant("s", "demo")
    base = one_layer()
    source = registry.store(image([base]), "demo:1")
    first = await result(watch, source, pool, name=name)
    assert (first["outcome"], first["layers-built"]) == ("new", 1)
    second = await result(watch, source, pool, name=name)
    assert (second["outcome"], second["layers-reused"]) == ("unchanged", 1)
    registry.store(image([base, one_layer()]), "demo:1")
    third = await result(watch, source, pool, name=name)
    assert (third["outcome"], third["layers-built"], third["layers-reused"]) == ("updated", 1, 1)
    host.virsh("vol-delete", third["volume"], "--pool", pool)
    fourth = await result(watch, source, pool, name=name)
    assert (fourth["outcome"], fourth["layers-built"]) == ("repaired", 1)
    # The layers are there: nothing is built, and still something has changed.
    other = registry.store(image([base]), "other:1")
    fifth = await result(watch, other, pool, name=name, replace=Variant("b", True))
    assert (fifth["outcome"], fifth["layers-built"]) == ("replaced", 0)
    sixth = await result(watch, other, pool, name=Variant("s", "more"))
    assert (sixth["outcome"], sixth["layers-built"], sixth["layers-reused"]) == ("new", 0, 1)


async def test_result_tells_whether_a_volume_was_created(
    watch: Watch, registry: FaultyRegistry, pool: str
) -> None:
    source = registry.store(image([one_layer()]), "demo:1")
    assert (await result(watch, source, pool))["volume-created"] is False
    made = await result(watch, source, pool, volume=Variant("s", "own.qcow2"))
    assert (made["outcome"], made["volume"], made["volume-created"]) == (
        "unchanged",
        "own.qcow2",
        True,
    )


# ---- what the image is for ----


@pytest.mark.parametrize("asked", [False, True], ids=["by default", "asked for"])
@pytest.mark.parametrize("form", ["registry", "layout"])
async def test_image_for_another_processor_is_pulled_and_reported(
    watch: Watch, registry: FaultyRegistry, pool: str, tmp_path: Path, asked: bool, form: str
) -> None:
    content = image([one_layer()], platform=f"linux/{FOREIGN}")
    source = _stored(registry, tmp_path, form, content)
    options = {"platform": Variant("s", f"linux/{FOREIGN}")} if asked else {}
    found = await result(watch, source, pool, **options)
    assert (found["platform"], found["host-platform"].split("/")[:2], found["foreign"]) == (
        f"linux/{FOREIGN}",
        ["linux", HOST],
        True,
    )
    assert await error(watch, source, pool, platform=Variant("s", f"linux/{HOST}")) == (
        "PlatformNotFound"
    )


@pytest.mark.parametrize("form", ["registry", "layout"])
async def test_platform_of_an_index_is_chosen_and_reported(
    watch: Watch, registry: FaultyRegistry, pool: str, tmp_path: Path, form: str
) -> None:
    images = [image([one_layer()], platform=f"linux/{name}") for name in (HOST, FOREIGN)]
    source = _stored(registry, tmp_path, form, index(images), *images)
    own = await result(watch, source, pool)
    assert (own["digest"], own["foreign"]) == (images[0].digest, False)
    platform = Variant("s", f"linux/{FOREIGN}")
    other = await result(watch, source, pool, platform=platform, name=Variant("s", "other"))
    assert (other["digest"], other["foreign"]) == (images[1].digest, True)


async def test_index_without_this_platform_names_those_it_has(
    watch: Watch, registry: FaultyRegistry, pool: str
) -> None:
    content = image([one_layer()], platform=f"linux/{FOREIGN}")
    registry.store(content, "demo:own")
    source = registry.store(index([content]), "demo:1")
    assert await error(watch, source, pool) == "PlatformNotFound"
    found = await result(watch, source, pool, platform=Variant("s", f"linux/{FOREIGN}"))
    assert found["foreign"] is True


@pytest.mark.parametrize(
    ("name", "says", "is_one"),
    [
        ("disk/machine.qcow2", {}, True),
        ("./disk/machine.img", {}, True),
        ("disk/readme", {}, False),
        ("disk/readme", {"history": [{"created_by": "COPY machine.qcow2 /disk/"}]}, True),
        ("srv/disk/machine.qcow2", {}, False),
    ],
)
async def test_container_disk_pulled_as_an_image_is_reported(
    watch: Watch,
    registry: FaultyRegistry,
    pool: str,
    name: str,
    says: dict[str, object],
    is_one: bool,
) -> None:
    content = image([layer(file(name, b"machine"))], config=says)
    found = await result(watch, registry.store(content, "machine:1"), pool)
    assert found["container-disk"] is is_one


def _stored(
    registry: FaultyRegistry, place: Path, form: str, content: Content, *parts: Content
) -> str:
    if form == "registry":
        for number, part in enumerate(parts):
            registry.store(part, f"demo:part{number}")
        return registry.store(content, "demo:1")
    write_layout(place / "layout", {"1": content} | {f"part{n}": p for n, p in enumerate(parts)})
    return f"oci:{place}/layout:1"
