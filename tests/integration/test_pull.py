# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls over D-Bus, with everything real; what jobs say while they work and when they fail."""

import asyncio
import itertools
import json
import random
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import (
    Content,
    LayerContent,
    directory,
    file,
    image,
    layer,
    tar,
    whiteout,
    write_linked_docker_archive,
)
from tests.support.job_watch import IMAGE, JOB, MANAGER, ROOT, SERVICE, Watch, watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import paths_in
from tests.support.registry import Registry
from tests.support.virtlayerd import Daemon
from virtlayer.dbus.connection import BusError
from virtlayer.sizes import MIB

_numbers = itertools.count(1)
PASSWORD = "swordfish-3fq8"


@pytest.fixture
async def watch(daemon: Daemon) -> AsyncIterator[Watch]:
    """A client; when it leaves, the daemon has no child left."""
    async with watching(daemon.bus.address) as client:
        yield client
    assert daemon.programs == set()


@pytest.fixture
def pool(host: LibvirtHost) -> Iterator[str]:
    name = f"pull-{next(_numbers)}"
    host.start_pool(name)
    yield name
    host.stop_pool(name)


def layers(number: int, *, size: int = 1000) -> list[LayerContent]:
    """Layers that no other image has; their bytes do not compress."""
    seed = random.Random(next(_numbers))  # noqa: S311 -- no secret
    return [
        layer(directory("d"), file(f"d/{index}", seed.randbytes(size))) for index in range(number)
    ]


def blobs_asked_for(registry: FaultyRegistry, content: Content) -> set[str]:
    return {
        path.rpartition("/")[2]
        for path in registry.requested
        if "/blobs/" in path and not path.endswith(content.config_digest)
    }


def nothing_unfinished(daemon: Daemon, host: LibvirtHost, pool: str) -> None:
    """See that neither the pool nor the cache has anything that is not finished."""
    for path in paths_in(host.pool_directory(pool)):
        assert re.fullmatch(r"layer-[0-9a-f]{64}\.qcow2", path.name), path
    cache = daemon.directory / "cache" / "virtlayer"
    assert [
        path for path in cache.rglob("*") if path.is_file() and path.parent.name[:3] != "sha"
    ] == []


async def test_the_call_of_a_newcomer(
    daemon: Daemon, watch: Watch, registry: FaultyRegistry, pool: str, host: LibvirtHost
) -> None:
    source = registry.store(image(layers(3)), "demo:1")
    options = ("1", "tls-verify", "b", "false")
    answer = await asyncio.to_thread(
        daemon.bus.busctl, "call", SERVICE, ROOT, MANAGER, "Pull", "ssa{sv}", source, pool, *options
    )
    found = re.fullmatch(r'uo (\d+) "(/org/virtlayer1/job/\1)"\s*', answer)
    assert found, answer
    job = await watch.finished(found[2])
    assert (job["State"], job["Error"], job["Progress"]) == ("done", "", 1)
    result = json.loads(
        await asyncio.to_thread(
            daemon.bus.busctl, "--json=short", "get-property", SERVICE, found[2], JOB, "Result"
        )
    )["data"]
    volumes = result["volumes"]["data"]
    assert sorted(volumes) == host.volumes(pool)
    assert result["volume"]["data"] == volumes[-1]
    assert result["path"]["data"] == str(host.pool_directory(pool) / volumes[-1])
    assert (result["layers-built"]["data"], result["layers-reused"]["data"]) == (3, 0)

    shown = await watch.properties(result["image"]["data"], IMAGE)
    assert (shown["Name"], shown["Pool"], shown["Source"]) == ("demo:1", pool, source)
    assert (shown["Os"], shown["Architecture"]) == ("linux", "amd64")
    assert [entry[1] for entry in shown["Layers"]] == volumes
    assert shown["Volume"] == volumes[-1]
    assert shown["Digest"] == result["digest"]["data"]
    assert json.loads(shown["Config"])["rootfs"]["diff_ids"] == [one[0] for one in shown["Layers"]]


async def test_signals_are_correct_and_limited_in_rate(
    watch: Watch, registry: FaultyRegistry, pool: str
) -> None:
    content = image(layers(4, size=8 * MIB))
    source = registry.store(content, "long:1")
    begun = time.monotonic()
    path = await watch.pull(source, pool, cache=Variant("b", False))
    job = await watch.finished(path)
    assert job["State"] == "done", job["Message"]
    total = sum(one["size"] for one in json.loads(content.manifest)["layers"])
    assert (job["BytesDone"], job["BytesTotal"]) == (total, total)
    assert (job["LayersDone"], job["LayersTotal"]) == (4, 4)
    assert job["Result"]["bytes-downloaded"] == total

    progress = watch.of(path, "ProgressChanged")
    for before, after in itertools.pairwise(told.body for told in progress):
        assert before[0] <= after[0]
        assert before[2] <= after[2]
    assert progress[-1].body == [1.0, "registering", total, total]
    # Sent at most ten a second; they may be read later, and closer together, than they were sent.
    assert len(progress) <= 10 * (progress[-1].moment - begun) + 2
    assert len(watch.of(path, "Finished")) == 1
    assert [told.body[1:] for told in watch.of(ROOT, "JobFinished")] == [[path, "done", "", ""]]
    stages = [
        told.body[1]["Stage"]
        for told in watch.of(path, "PropertiesChanged")
        if "Stage" in told.body[1]
    ]
    assert stages[-1] == "registering"
    assert set(stages) <= {"downloading", "applying", "registering"}


async def test_existing_layers_are_neither_downloaded_nor_built(
    daemon: Daemon, watch: Watch, registry: FaultyRegistry, pool: str
) -> None:
    content = image(layers(2))
    source = registry.store(content, "twice:1")
    first = await watch.finished(await watch.pull(source, pool))
    assert blobs_asked_for(registry, content) != set()
    registry.requested.clear()
    second = await watch.finished(await watch.pull(source, pool, cache=Variant("b", False)))
    # Not even the config, whose digest is known; only what the tag leads to now.
    assert [path for path in registry.requested if "/blobs/" in path] == []
    assert [path for path in registry.requested if path.endswith("/manifests/1")] != []
    counts = ("layers-built", "layers-reused", "bytes-downloaded")
    assert [second["Result"][name] for name in counts] == [0, 2, 0]
    assert second["Result"]["image"] == first["Result"]["image"]
    assert second["Result"]["volumes"] == first["Result"]["volumes"]
    assert daemon.process.poll() is None


async def test_a_tag_that_has_moved_is_seen(
    watch: Watch, registry: FaultyRegistry, pool: str
) -> None:
    before, after = image(layers(2)), image(layers(2))
    source = registry.store(before, "moved:1")
    first = await watch.finished(await watch.pull(source, pool))
    registry.store(after, "moved:1")
    second = await watch.finished(await watch.pull(source, pool))
    assert first["Result"]["digest"] == before.digest
    assert second["Result"]["digest"] == after.digest
    assert second["Result"]["layers-built"] == 2
    assert set(first["Result"]["volumes"]).isdisjoint(second["Result"]["volumes"])


async def test_layers_deleted_from_the_pool_are_built_again(
    watch: Watch, registry: FaultyRegistry, pool: str, host: LibvirtHost
) -> None:
    source = registry.store(image(layers(3)), "gone:1")
    first = await watch.finished(await watch.pull(source, pool))
    host.virsh("vol-delete", first["Result"]["volume"], "--pool", pool)
    second = await watch.finished(await watch.pull(source, pool))
    assert (second["Result"]["layers-built"], second["Result"]["layers-reused"]) == (1, 2)
    assert sorted(second["Result"]["volumes"]) == host.volumes(pool)


async def test_other_file_with_the_name_of_a_layer_is_refused(
    watch: Watch, registry: FaultyRegistry, pool: str, host: LibvirtHost
) -> None:
    source = registry.store(image(layers(1)), "taken:1")
    first = await watch.finished(await watch.pull(source, pool))
    volume = host.pool_directory(pool) / first["Result"]["volume"]
    volume.unlink()
    volume.write_bytes(bytes(MIB))
    refused = await watch.finished(await watch.pull(source, pool))
    assert refused["Error"] == "org.virtlayer1.Error.VolumeExists"
    assert volume.name in refused["Message"]


async def test_images_share_their_first_layers(
    watch: Watch, registry: FaultyRegistry, pool: str
) -> None:
    base = layers(2)
    one = registry.store(image([*base, *layers(1)]), "one:1")
    two = registry.store(image([*base, layer(whiteout("d/0"))]), "two:1")
    first = await watch.finished(await watch.pull(one, pool))
    second = await watch.finished(await watch.pull(two, pool))
    assert second["Result"]["volumes"][:2] == first["Result"]["volumes"][:2]
    assert (second["Result"]["layers-built"], second["Result"]["layers-reused"]) == (1, 2)


async def test_images_of_a_docker_archive_share_a_layer_that_is_a_symlink(
    watch: Watch, pool: str, tmp_path: Path
) -> None:
    contents = [
        layer(raw=tar(file(name, bytes(8 * MIB))), compression="none") for name in ("base", "top")
    ]
    archive = write_linked_docker_archive(tmp_path / "images.tar", *contents)
    # The second image first, so that the layer is read where skopeo does not know its size.
    second = await watch.finished(await watch.pull(f"docker-archive:{archive}:@1", pool))
    first = await watch.finished(await watch.pull(f"docker-archive:{archive}:@0", pool))

    assert (second["State"], first["State"]) == ("done", "done"), (second, first)
    assert second["BytesDone"] == second["BytesTotal"] == sum(one.size for one in contents)
    assert (second["Result"]["layers-built"], first["Result"]["layers-built"]) == (2, 0)
    assert second["Result"]["volumes"][:1] == first["Result"]["volumes"]


async def test_jobs_at_a_time_build_each_layer_once(
    watch: Watch, registry: FaultyRegistry, pool: str, host: LibvirtHost
) -> None:
    base = layers(2)
    sources = [
        registry.store(image([*base, *layers(1)]), f"parallel:{number}") for number in range(6)
    ]
    paths = [await watch.pull(source, pool) for source in sources for _ in range(2)]
    results = [(await watch.finished(path))["Result"] for path in paths]
    assert sum(result["layers-built"] for result in results) == 2 + 6
    assert len(host.volumes(pool)) == 2 + 6


async def test_options_of_a_pull(
    watch: Watch, registry: FaultyRegistry, pool: str, host: LibvirtHost, daemon: Daemon
) -> None:
    content = image(layers(1), platform="linux/arm64")
    source = registry.store(content, "other:1")
    path = await watch.pull(
        source,
        pool,
        name=Variant("s", "mine"),
        platform=Variant("s", "linux/arm64"),
        size=Variant("t", 96 * MIB),
        cache=Variant("b", False),
    )
    result = (await watch.finished(path))["Result"]
    shown = await watch.properties(result["image"], IMAGE)
    assert (shown["Name"], shown["Architecture"], shown["Size"]) == ("mine", "arm64", 96 * MIB)
    assert f"<capacity unit='bytes'>{96 * MIB}</capacity>" in host.virsh(
        "vol-dumpxml", result["volume"], "--pool", pool
    )
    [blob] = (one["digest"] for one in json.loads(content.manifest)["layers"])
    assert list((daemon.directory / "cache").rglob(blob.removeprefix("sha256:"))) == []
    listed = await watch.ask(ROOT, MANAGER, "ListImages", "s", pool)
    assert [entry[1:4] for entry in listed] == [[pool, "mine", source]]


async def test_inspect_answers_and_stores_nothing(
    watch: Watch, registry: FaultyRegistry, host: LibvirtHost, pool: str
) -> None:
    content = image(layers(2))
    source = registry.store(content, "look:1")
    options = {"tls-verify": Variant("b", False)}
    answer = await watch.ask(ROOT, MANAGER, "Inspect", "sa{sv}", source, options)
    assert answer["reference"].value == source
    assert answer["digest"].value == content.digest
    assert answer["image-id"].value == content.config_digest
    described = json.loads(content.manifest)["layers"]
    assert [[one[0], one[2]] for one in answer["layers"].value] == [
        [one["digest"], one["size"]] for one in described
    ]
    assert answer["size"].value == sum(one["size"] for one in described)
    assert blobs_asked_for(registry, content) == set()
    assert host.volumes(pool) == []


@pytest.mark.parametrize(
    ("error", "content", "fault"),
    [
        ("ImageNotFound", None, None),
        ("RegistryUnavailable", layers(2), Fault.DIE_HALF_WAY),
        ("RegistryUnavailable", layers(2), Fault.SERVER_ERROR),
        ("DigestMismatch", layers(2), Fault.WRONG_BYTES),
        ("DigestMismatch", [layer(file("x"), diff_id="sha256:" + "0" * 64)], None),
        ("MalformedLayer", [layer(raw=tar(file("x", b"y" * 5000))[:2000])], None),
        ("NoSpace", [layer(file("big", b"big\n" * (20 * MIB)))], None),
    ],
)  # fmt: skip
async def test_failed_pull_has_its_error_and_leaves_nothing(
    daemon: Daemon,
    watch: Watch,
    registry: FaultyRegistry,
    host: LibvirtHost,
    pool: str,
    error: str,
    content: list[LayerContent] | None,
    fault: Fault | None,
) -> None:
    source = f"docker://{registry.host}/nothing:1"
    if content is not None:
        source = registry.store(image(content), "wrong:1")
    if content is not None and fault is not None:
        registry.faults[content[0].digest] = fault
    path = await watch.pull(source, pool)
    job = await watch.finished(path)
    assert (job["State"], job["Error"]) == ("failed", f"org.virtlayer1.Error.{error}"), job
    assert job["Message"]
    assert job["Result"] == {}
    assert job["Progress"] < 1
    assert [told.body for told in watch.of(path, "Finished")] == [
        ["failed", job["Error"], job["Message"]]
    ]
    assert host.volumes(pool) == []
    nothing_unfinished(daemon, host, pool)
    assert await watch.ask(ROOT, MANAGER, "ListImages", "s", pool) == []


async def test_pools_that_cannot_be_used(
    watch: Watch, registry: FaultyRegistry, host: LibvirtHost, pool: str
) -> None:
    source = registry.store(image(layers(1)), "pools:1")
    absent = await watch.finished(await watch.pull(source, "no-such-pool"))
    assert absent["Error"] == "org.virtlayer1.Error.PoolNotFound"
    wrong = {"cert-dir": Variant("s", "/no-such-directory")}
    both = await watch.finished(await watch.pull(source, "no-such-pool", **wrong))
    assert both["Error"] == "org.virtlayer1.Error.PoolNotFound"
    host.virsh("pool-destroy", pool)
    inactive = await watch.finished(await watch.pull(source, pool))
    assert inactive["Error"] == "org.virtlayer1.Error.PoolInactive"
    host.virsh("pool-start", pool)
    assert registry.requested == []


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        ("resolving", Fault.HANG),
        ("downloading", Fault.HANG),
        ("downloading", Fault.HANG_HALF_WAY),
    ],
)
async def test_cancel_takes_effect_within_a_second(
    daemon: Daemon,
    watch: Watch,
    registry: FaultyRegistry,
    host: LibvirtHost,
    pool: str,
    stage: str,
    fault: Fault,
) -> None:
    content = layers(3)
    name = f"stuck-{next(_numbers)}"
    source = registry.store(image(content), f"{name}:1")
    stuck = "manifests/1" if stage == "resolving" else f"blobs/{content[1].digest}"
    registry.faults[stuck.rpartition("/")[2]] = fault
    path = await watch.pull(source, pool)
    await watch.reaches(path, Stage=stage, LayersDone=1 if stage == "downloading" else 0)
    # Starting skopeo can take a second where a machine is busy.
    await registry.asked_for(f"/{name}/{stuck}")
    begun = time.monotonic()
    await watch.ask(path, JOB, "Cancel")
    # The one promise about time that the interface makes.
    assert time.monotonic() - begun < 1
    job = await watch.properties(path, JOB)
    assert (job["State"], job["Error"]) == ("cancelled", "org.virtlayer1.Error.Cancelled")
    assert daemon.programs == set()
    nothing_unfinished(daemon, host, pool)
    assert len(host.volumes(pool)) == (1 if stage == "downloading" else 0)
    with pytest.raises(BusError, match="NoSuchJob"):
        await watch.ask(path, JOB, "Cancel")
    registry.faults.clear()
    again = await watch.finished(await watch.pull(source, pool))
    assert again["State"] == "done"


async def test_exit_of_the_caller_does_not_cancel_the_job(
    daemon: Daemon, watch: Watch, registry: FaultyRegistry, pool: str
) -> None:
    source = registry.store(image(layers(2)), "leave:1")
    async with watching(daemon.bus.address) as caller:
        path = await caller.pull(source, pool)
    assert (await watch.finished(path))["State"] == "done"


async def test_a_password_is_seen_nowhere(
    daemon: Daemon, watch: Watch, pool: str, tmp_path: Path, host: LibvirtHost
) -> None:
    with Registry(tmp_path / "private", htpasswd=("me", PASSWORD)) as private:
        source = private.store(image(layers(1)), "private:1")
        right = {"username": Variant("s", "me"), "password": Variant("s", PASSWORD)}
        wrong = right | {"password": Variant("s", PASSWORD + "x")}
        refused = await watch.finished(await watch.pull(source, pool, **wrong))
        assert refused["Error"] == "org.virtlayer1.Error.RegistryAuth"
        path = await watch.pull(source, pool, **right)
        done = await watch.finished(path)
        assert done["State"] == "done", done["Message"]
    managed = await watch.ask(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    everything = repr((managed, done, refused, watch.told))
    assert PASSWORD not in everything
    assert PASSWORD not in daemon.log
    for place in (daemon.directory, host.pool_directory(pool)):
        for file_ in place.rglob("*"):
            if file_.is_file() and not file_.is_symlink():
                assert PASSWORD.encode() not in file_.read_bytes(), file_
