# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example of a fleet: what its registry is asked for, with a mirror and without.

docs/fleet.md has the same figures.
"""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import (
    EXAMPLE,
    FURTHER,
    LAYERS,
    Counting,
    Fleet,
    Traffic,
    fleet,
    some_image,
)
from tests.support.images import Content
from tests.support.leftovers import shared_by_tests

HOSTS = ("a", "b", "c")
_REPOSITORY = EXAMPLE.parent.parent
_numbers = itertools.count(1)

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three hosts."""
    with fleet(tmp_path_factory.mktemp("fleet"), *HOSTS) as running:
        yield running


@pytest.fixture
def shared(running: Fleet) -> str:
    """The name of an empty pool that all hosts share."""
    name = f"shared-{next(_numbers)}"
    path = running.hosts[0].directory.parent / name
    path.mkdir()
    for host in running.hosts:
        host.start_pool(name, path)
    return name


@pytest.fixture
def own(running: Fleet) -> str:
    """The name of an empty pool that each host has for itself."""
    name = f"own-{next(_numbers)}"
    for host in running.hosts:
        host.start_pool(name)
    return name


def blobs_of(content: Content) -> int:
    """Bytes of all blobs."""
    return sum(map(len, content.blobs.values()))


async def test_hosts_with_a_shared_pool_download_an_image_once(running: Fleet, shared: str) -> None:
    content = some_image()
    running.configure(shared, content)
    counting = Counting(running.registry)

    populated = await running.populate()

    assert [one["outcome"] for one in populated] == ["new", "unchanged", "unchanged"]
    assert [one["layers_built"] for one in populated] == [LAYERS, 0, 0]
    # Each host asks for the manifest, the first one for the config and the layers.
    size = len(HOSTS) * len(content.manifest) + blobs_of(content)
    expected = Traffic(looks=0, manifests=len(HOSTS), blobs=LAYERS + 1, size=size)
    traffic = counting.traffic()
    assert traffic == expected
    assert traffic.further <= FURTHER


async def test_hosts_with_a_shared_pool_download_a_new_version_once(
    running: Fleet, shared: str
) -> None:
    running.configure(shared, some_image())
    await running.populate_on(running.hosts[0])
    newer = some_image()
    running.configure(shared, newer)
    counting = Counting(running.registry)

    populated = await running.populate()

    assert [one["outcome"] for one in populated] == ["updated", "unchanged", "unchanged"]
    size = len(HOSTS) * len(newer.manifest) + blobs_of(newer)
    expected = Traffic(looks=0, manifests=len(HOSTS), blobs=LAYERS + 1, size=size)
    traffic = counting.traffic()
    assert traffic == expected
    assert traffic.further <= FURTHER


async def test_hosts_that_populate_at_once_download_each_layer_once(
    running: Fleet, shared: str
) -> None:
    content = some_image()
    running.configure(shared, content)
    counting = Counting(running.registry)

    populated = await running.populate_at_once()

    assert sum(one["layers_built"] for one in populated) == LAYERS
    # Each host can need the manifest and the config.
    size = len(HOSTS) * (len(content.manifest) + len(content.config)) + blobs_of(content)
    traffic = counting.traffic()
    assert traffic.manifests == len(HOSTS)
    assert LAYERS + 1 <= traffic.blobs <= LAYERS + len(HOSTS)
    assert traffic.size <= size
    assert traffic.further <= len(HOSTS) * FURTHER


async def test_hosts_with_own_pools_download_an_image_each(running: Fleet, own: str) -> None:
    content = some_image()
    running.configure(own, content)
    counting = Counting(running.registry)

    populated = await running.populate()

    assert [one["layers_built"] for one in populated] == [LAYERS] * len(HOSTS)
    size = len(HOSTS) * (len(content.manifest) + blobs_of(content))
    expected = Traffic(looks=0, manifests=len(HOSTS), blobs=len(HOSTS) * (LAYERS + 1), size=size)
    traffic = counting.traffic()
    assert traffic == expected
    assert traffic.further <= len(HOSTS) * FURTHER


@pytest.mark.parametrize("kind", ["shared", "own"])
async def test_mirror_downloads_an_image_once_for_all_hosts(
    running: Fleet, kind: str, request: pytest.FixtureRequest
) -> None:
    pool = request.getfixturevalue(kind)
    content = some_image()
    running.configure(pool, content, mirrored=True)
    of_registry, of_mirror = Counting(running.registry), Counting(running.mirror)

    populated = await running.populate()

    builders = 1 if kind == "shared" else len(HOSTS)
    assert sum(one["layers_built"] for one in populated) == builders * LAYERS
    mirrored = of_mirror.traffic()
    assert (mirrored.manifests, mirrored.blobs) == (len(HOSTS), builders * (LAYERS + 1))
    assert mirrored.further <= builders * FURTHER
    # docker-registry 2.8 downloads a blob twice: for its client, and for itself.
    traffic = of_registry.traffic()
    assert (traffic.manifests, traffic.further) == (1, 0)
    assert LAYERS + 1 <= traffic.blobs <= 2 * (LAYERS + 1)
    assert traffic.size <= len(content.manifest) + 2 * blobs_of(content)


async def test_mirror_answers_for_unchanged_images(running: Fleet, shared: str) -> None:
    running.configure(shared, some_image(), mirrored=True)
    await running.populate_on(running.hosts[0])
    counting = Counting(running.registry)

    populated = await running.populate()

    assert {one["outcome"] for one in populated} == {"unchanged"}
    traffic = counting.traffic()
    assert traffic == Traffic(looks=len(HOSTS), manifests=0, blobs=0, size=0)
    assert traffic.further == 0


@pytest.mark.parametrize("down", ["registry", "mirror"])
async def test_image_is_pulled_while_mirror_or_registry_is_down(
    running: Fleet, shared: str, own: str, down: str
) -> None:
    content = some_image()
    running.configure(shared, content, mirrored=True)
    await running.populate_on(running.hosts[0])
    running.configure(own, content, mirrored=True)
    stopped = running.registry if down == "registry" else running.mirror
    stopped.stop()
    try:
        populated = await running.populate_on(running.hosts[1])
    finally:
        with shared_by_tests():
            stopped.start()
    assert populated["layers_built"] == LAYERS


def test_timer_has_times_of_its_own(tmp_path: Path) -> None:
    shutil.copy(_REPOSITORY / "systemd" / "virtlayer-populate.timer", tmp_path)
    drop_in = tmp_path / "virtlayer-populate.timer.d" / "fleet.conf"
    drop_in.parent.mkdir()
    shutil.copy(EXAMPLE / "timer.conf", drop_in)
    (tmp_path / "virtlayer-populate.service").write_text("[Service]\nExecStart=/bin/true\n")

    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "virtlayer-populate.timer"],
        env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")


def test_page_names_every_file_of_the_example() -> None:
    page = (_REPOSITORY / "docs" / "fleet.md").read_text(encoding="utf-8")

    names = {path.name for path in EXAMPLE.iterdir()}
    assert {name for name in names if f"(../examples/fleet/{name})" not in page} == set()
