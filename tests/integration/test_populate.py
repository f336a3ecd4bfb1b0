# SPDX-License-Identifier: LGPL-2.1-or-later
"""Populate with real parts: tags that move, versions that are deleted, images that fail."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.images import Content
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import PoolUser, pool_user, qemu_img, some_image
from tests.support.registry import Registry
from tests.support.virtlayerd import virtlayerd


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def user(host: LibvirtHost, registry: Registry, tmp_path: Path) -> Iterator[PoolUser]:
    """The user of a new pool, and of a virtlayerd without any configured image."""
    for name in ("bus", "home"):
        (tmp_path / name).mkdir()
    settings = "[storage]\nvirtual-size = 67108864\n"
    with (
        session_bus(tmp_path / "bus") as bus,
        virtlayerd(host, bus, tmp_path / "home", settings=settings) as daemon,
        pool_user(daemon, registry, host) as user,
    ):
        images_of(user).mkdir(parents=True)
        yield user


def images_of(user: PoolUser) -> Path:
    return user.daemon.directory / "config" / "virtlayer" / "images.d"


def configure(user: PoolUser, name: str, content: Content | None, **settings: object) -> str:
    """Store content under a tag of that name, and configure the tag; return the source."""
    repository = f"{user.pool}-{name}:latest"
    source = user.registry.reference(repository)
    if content is not None:
        user.registry.store(content, repository)
    given = {"source": source, "pool": user.pool, "name": name, "tls-verify": False} | settings
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in given.items()]
    (images_of(user) / f"{name}.toml").write_text("".join(lines))
    return source


async def test_a_moved_tag_downloads_only_changed_layers(user: PoolUser) -> None:
    configure(user, "demo", some_image("base", "old"), keep=0)
    [first] = (await user.run("populate"))["images"]
    assert (first["outcome"], first["layers_built"], first["error"]) == ("new", 2, None)
    [before] = await user.run("images", user.pool)
    base, old = sorted(user.volumes, key=lambda name: (user.path / name).stat().st_mtime_ns)
    machine = user.overlay(user.path / "machine.qcow2", user.path / old)

    new = some_image("base", "new")
    configure(user, "demo", new, keep=0)
    [second] = (await user.run("populate"))["images"]
    assert (second["outcome"], second["layers_built"], second["deleted_volumes"]) == (
        "updated",
        1,
        [],
    )
    assert second["bytes_downloaded"] == json.loads(new.manifest)["layers"][1]["size"]
    [after] = await user.run("images", user.pool)
    assert (after["object"], after["name"]) == (before["object"], "demo")
    assert after["digest"] == second["digest"] == new.digest != before["digest"]
    # The machine is still on the version that it was made on.
    assert {base, old} < set(user.volumes)
    chain = json.loads(qemu_img("info", "--backing-chain", "--output=json", str(machine)))
    assert [Path(one["filename"]).name for one in chain] == ["machine.qcow2", old, base]
    [shown] = await user.run("status")
    assert (shown["former_versions"], shown["digest"]) == (1, new.digest)

    user.host.virsh("vol-delete", "machine.qcow2", user.pool)
    [third] = (await user.run("populate"))["images"]
    assert (third["outcome"], third["deleted_volumes"]) == ("unchanged", [old])
    assert old not in user.volumes
    assert len(user.volumes) == 2
    [shown] = await user.run("status")
    assert shown["former_versions"] == 0


async def test_old_versions_are_kept_as_configured(user: PoolUser) -> None:
    removed, built, outcomes = [], [], []
    for word in ("one", "two", "three", "two"):
        configure(user, "demo", some_image("base", word), keep=1)
        [done] = (await user.run("populate"))["images"]
        outcomes.append(done["outcome"])
        removed.append(len(done["deleted_volumes"]))
        built.append(done["layers_built"])
        assert (await user.run("prune", user.pool))["deleted_volumes"] == []
    # "one" went when "three" came; "two" was still there when the tag went back to it.
    assert outcomes == ["new", "updated", "updated", "updated"]
    assert (removed, built) == ([0, 0, 1, 0], [2, 1, 1, 0])
    assert len(user.volumes) == 3
    await user.run("remove", "demo", user.pool)
    assert user.volumes == []


async def test_image_of_another_source_is_not_replaced(user: PoolUser) -> None:
    configure(user, "demo", some_image("first"))
    await user.run("populate")
    [before] = await user.run("images", user.pool)
    other = user.registry.store(some_image("second"), f"{user.pool}-other:latest")
    configure(user, "demo", None, source=other)
    ended = await user.fail("populate")
    assert (ended.status, "--replace" in ended.stderr) == (7, True)
    assert await user.run("images", user.pool) == [before]
    await user.run("pull", "--tls-verify=false", "--replace", "--name=demo", other, user.pool)
    [replaced] = (await user.run("populate"))["images"]
    assert (replaced["outcome"], replaced["source"]) == ("unchanged", other)


async def test_unchanged_image_costs_one_manifest_request(user: PoolUser) -> None:
    source = configure(user, "demo", some_image("base", "top"))
    await user.run("populate")
    repository = source.removeprefix(f"docker://{user.registry.host}/").partition(":")[0]
    before = requests_for(user.registry, repository)
    [again] = (await user.run("populate"))["images"]
    assert (again["outcome"], again["bytes_downloaded"]) == ("unchanged", 0)
    new = requests_for(user.registry, repository)[len(before) :]
    assert [request.split("/")[-2] for request in new] == ["manifests"]


def requests_for(registry: Registry, repository: str) -> list[str]:
    """The paths in a repository that were asked for, in order."""
    lines = (line.split('"')[1] for line in registry.log().splitlines() if '"GET /v2/' in line)
    return [line.split()[1] for line in lines if f"/{repository}/" in line]


async def test_only_configured_images_get_the_service_s_logins(
    host: LibvirtHost, tmp_path: Path
) -> None:
    for name in ("bus", "home"):
        (tmp_path / name).mkdir()
    pair = base64.b64encode(b"me:secret-7pq").decode()
    with Registry(tmp_path / "private", htpasswd=("me", "secret-7pq")) as private:
        authfile = tmp_path / "auth.json"
        authfile.write_text(json.dumps({"auths": {private.host: {"auth": pair}}}))
        settings = f'[storage]\nvirtual-size = 67108864\n[registries]\nauthfile = "{authfile}"\n'
        with (
            session_bus(tmp_path / "bus") as bus,
            virtlayerd(host, bus, tmp_path / "home", settings=settings) as daemon,
            pool_user(daemon, private, host) as user,
        ):
            images_of(user).mkdir(parents=True)
            source = configure(user, "demo", some_image("private"))
            ended = await user.fail("pull", source, user.pool, "--tls-verify=false")
            assert ended.status == 4
            [done] = (await user.run("populate"))["images"]
            assert (done["outcome"], done["error"]) == ("new", None)


async def test_failed_image_does_not_stop_the_others(user: PoolUser) -> None:
    configure(user, "a-missing", None)
    (images_of(user) / "b-broken.toml").write_text('\nsource = "docker://a/b"\nkep = 1\n')
    configure(user, "c-good", some_image("good"))
    ended = await user.fail("--json", "populate")
    assert ended.status == 3
    images = {Path(one["file"]).stem: one for one in json.loads(ended.stdout)["images"]}
    outcomes = {name: (one["outcome"], one["error"]) for name, one in images.items()}
    assert outcomes == {
        "a-missing": ("failed", "ImageNotFound"),
        "b-broken": ("failed", "InvalidArgument"),
        "c-good": ("new", None),
    }
    assert 'b-broken.toml, line 3: unknown key "kep"' in images["b-broken"]["message"]
    shown = {Path(one["file"]).stem: one["error"] for one in await user.run("status")}
    assert shown == {"a-missing": "ImageNotFound", "b-broken": "InvalidArgument", "c-good": None}


async def test_images_that_are_not_due_are_not_requested(user: PoolUser) -> None:
    configure(user, "daily", some_image("daily"), refresh="1d")
    configure(user, "always", some_image("always"), refresh="0s")
    configure(user, "failing", None, refresh="1d")
    await user.fail("populate", "--due")
    ended = await user.fail("--json", "populate", "--due")
    images = json.loads(ended.stdout)["images"]
    assert {one["name"]: one["outcome"] for one in images} == {
        "always": "unchanged",
        "daily": "not-due",
        "failing": "failed",
    }


async def test_the_table_is_for_people(user: PoolUser) -> None:
    configure(user, "demo", some_image("base", "top"))
    await user.run("populate")
    for command in ("populate", "status"):
        [header, row] = (await user.tell(command)).splitlines()
        assert header.split()[:2] == ["NAME", "POOL"]
        assert row.split()[:2] == ["demo", user.pool]


async def test_populate_without_configured_images_does_nothing(user: PoolUser) -> None:
    assert await user.run("populate") == {"images": []}
    assert await user.run("status") == []
