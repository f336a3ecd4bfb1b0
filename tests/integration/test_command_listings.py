# SPDX-License-Identifier: LGPL-2.1-or-later
"""Output of commands about images, jobs and configured images of a real service."""

import asyncio
import getpass
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.command import started, virtlayer_on_terminal
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import image
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import PoolUser, pool_user, some_image, some_layers
from tests.support.registry import Registry
from tests.support.virtlayerd import Daemon, virtlayerd
from virtlayer.client.keys import KEYS

WIDTHS = (80, 200)
ISO_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
STYLES = re.compile(r"\x1b\[[0-9;]*m")
LONG_NAME = "a-long-name-of-an-image-that-a-narrow-terminal-has-no-room-for:2026.11.25"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def user(daemon: Daemon, registry: Registry, host: LibvirtHost) -> Iterator[PoolUser]:
    """A user with a pool; the service is the module's, and knows jobs and pools of other tests."""
    with pool_user(daemon, registry, host) as running:
        yield running


@pytest.fixture
def first_user(host: LibvirtHost, registry: Registry, tmp_path: Path) -> Iterator[PoolUser]:
    """A user with a pool and a service of their own, which has done nothing yet."""
    directory = tmp_path / "bus"
    directory.mkdir()
    with (
        session_bus(directory) as bus,
        virtlayerd(host, bus, tmp_path, settings="[storage]\nvirtual-size = 67108864\n") as daemon,
        pool_user(daemon, registry, host) as running,
    ):
        yield running


async def shown(user: PoolUser, *arguments: str, columns: int) -> list[str]:
    """The lines that a command prints on a terminal, without styles."""
    ended = await virtlayer_on_terminal(
        "--user", *arguments, env=user.daemon.environment, columns=columns
    )
    assert ended.status == 0, ended.stdout
    return [line.rstrip() for line in STYLES.sub("", ended.stdout).splitlines()]


async def failed_job(user: PoolUser) -> int:
    """The ID of a pull that was not waited for and failed."""
    source = f"docker://{user.registry.host}/a-repository-that-does-not-exist:1"
    pull = ("pull", "--no-wait", source, user.pool, "--tls-verify=false")
    number = (await user.run(*pull))["id"]
    ended = await user.fail("job", "wait", str(number))
    assert ended.status == 3
    return int(number)


def check_document(document: object) -> None:
    """Check that every key is documented, and every time is in ISO 8601."""
    if isinstance(document, list):
        for one in document:
            check_document(one)
    elif isinstance(document, dict):
        assert set(document) <= set(KEYS)
        for key, value in document.items():
            if key.endswith("_at"):
                assert value is None or ISO_TIME.fullmatch(value), key
            elif key != "config":  # whatever the author of the image wrote
                check_document(value)


async def test_images_are_listed_with_their_details(first_user: PoolUser) -> None:
    content = some_image("base", "top")
    await first_user.pull(content, "demo")
    [row] = await first_user.run("images", first_user.pool)
    check_document(row)
    assert (row["name"], row["pool"], row["digest"]) == ("demo", first_user.pool, content.digest)
    assert (row["os"], row["architecture"]) == ("linux", "amd64")
    assert row["virtual_size"] == 64 * 2**20
    [header, line] = (await first_user.tell("images", first_user.pool)).splitlines()
    assert header.split() == ["NAME", "POOL", "DIGEST", "ARCH", "SIZE", "SHARED", "AGE"]
    assert line.split()[:4] == ["demo", first_user.pool, content.digest[7:19], "amd64"]
    assert await first_user.tell("ls", "-q") == "demo\n"
    told = await first_user.tell(
        "images", "--format", "{{.name}} {{.digest}}", "--filter", "name=d*"
    )
    assert told == f"demo {content.digest}\n"
    assert await first_user.tell("images", "--filter", "name=x") == "No images.\n"
    assert json.loads(await first_user.tell("images", "--format", "json")) == [row]


async def test_image_sizes_show_shared_bytes(user: PoolUser) -> None:
    await user.pull(some_image("base", "one"), "one")
    [alone] = await user.run("images", user.pool)
    assert (alone["own_size"], alone["shared_size"]) == (alone["size"], 0)
    await user.pull(some_image("base", "two"), "two")
    for row in await user.run("images", user.pool):
        assert 0 < row["shared_size"] < row["size"] == row["own_size"] + row["shared_size"]


async def test_volumes_are_listed_and_removed(first_user: PoolUser) -> None:
    layers = await first_user.pull(some_image("base"), "demo")
    await first_user.run("create-volume", "demo", "web.qcow2", first_user.pool)
    rows = await first_user.run("volumes")
    check_document(rows)
    assert [(row["name"], row["kind"], row["image"], row["format"]) for row in rows] == [
        ("web.qcow2", "volume", "demo", "qcow2")
    ]
    everything = await first_user.tell("volumes", first_user.pool, "--all", "-q")
    assert sorted(everything.split()) == sorted([*layers, "web.qcow2"])
    [header, line] = (await first_user.tell("volumes", first_user.pool)).splitlines()
    assert header.split() == ["NAME", "POOL", "KIND", "FORMAT", "SIZE", "IMAGE"]
    assert line.split()[:4] == ["web.qcow2", first_user.pool, "volume", "qcow2"]
    told = await first_user.tell("remove-volume", "web.qcow2", first_user.pool)
    assert told == "Removed web.qcow2.\n"
    assert first_user.volumes == layers
    assert await first_user.tell("volumes", first_user.pool) == "No volumes.\n"
    for name in ("web.qcow2", layers[0]):
        ended = await first_user.fail("remove-volume", name, first_user.pool)
        assert ended.status in {2, 3}, ended.stderr
    assert first_user.volumes == layers


async def test_a_removed_volume_is_named_in_json(user: PoolUser) -> None:
    await user.pull(some_image("base"), "demo")
    await user.run("create-volume", "demo", "web.qcow2", user.pool)
    removed = await user.run("remove-volume", "web.qcow2", user.pool)
    check_document(removed)
    assert removed["deleted_volumes"] == ["web.qcow2"]
    assert removed["bytes_freed"] > 0


@pytest.mark.parametrize("columns", WIDTHS)
async def test_df_shows_usage_of_a_pool(user: PoolUser, columns: int) -> None:
    await user.pull(some_image("base", "one"), "one")
    await user.pull(some_image("base", "two"), "two")
    await user.run("create-volume", "one", "web.qcow2", user.pool)
    [row] = await user.run("df", user.pool)
    check_document(row)
    assert (row["layer_count"], row["volume_count"], row["prunable_count"]) == (3, 1, 0)
    assert 0 < row["shared_size"] < row["layers_size"]
    assert row["available"] <= row["capacity"]
    assert await user.run("df", "--filter", f"pool={user.pool}") == [row]
    lines = await shown(user, "df", columns=columns)
    assert max(map(len, lines)) <= columns
    names = ["POOL", "LAYERS", "SHARED", "PRUNABLE", "VOLUMES", "AVAILABLE", "CAPACITY"]
    assert lines[0].split() == names


@pytest.mark.parametrize("columns", WIDTHS)
async def test_table_of_images_fits_the_terminal_without_truncation(
    user: PoolUser, columns: int
) -> None:
    source = user.registry.store(some_image("base"), "long:1")
    await user.run("pull", source, user.pool, "--tls-verify=false", f"--name={LONG_NAME}")
    lines = await shown(user, "images", user.pool, columns=columns)
    assert max(map(len, lines)) <= columns
    assert "".join(line.split("  ")[0] for line in lines[1:]) == LONG_NAME
    assert (len(lines) == 2) == (columns == 200)


async def test_a_local_image_is_inspected_without_the_registry(user: PoolUser) -> None:
    content = some_image("base", "top")
    volumes = await user.pull(content, "demo")
    found = await user.run("inspect", "demo", user.pool)
    check_document(found)
    assert (found["name"], found["digest"]) == ("demo", content.digest)
    assert found["path"] == str(user.path / volumes[-1])
    assert [layer["volume"] for layer in found["layers"]] == volumes
    assert found["config"] == json.loads(content.config)
    text = await user.tell("inspect", "demo", user.pool)
    assert f"digest: {content.digest}" in text
    assert all(volume in text for volume in volumes)


async def test_inspect_reads_an_image_at_its_source(user: PoolUser) -> None:
    source = user.registry.store(some_image("remote"), "remote:1")
    found = await user.run("inspect", source, "--tls-verify=false")
    check_document(found)
    assert found["source"] == source
    assert user.volumes == []


async def test_a_volume_is_inspected(user: PoolUser) -> None:
    await user.pull(some_image("base"), "demo")
    await user.run("create-volume", "demo", "web.qcow2", user.pool)
    found = await user.run("inspect", "web.qcow2", user.pool)
    check_document(found)
    assert (found["image"], found["format"], found["is_layer"]) == ("demo", "qcow2", False)
    assert "image: demo\n" in await user.tell("inspect", "web.qcow2", user.pool)


async def test_inspecting_a_name_that_the_pool_does_not_have(user: PoolUser) -> None:
    ended = await user.fail("inspect", "debian:13", user.pool)
    assert ended.status == 3
    assert ended.stderr == (
        f'virtlayer: The pool "{user.pool}" has no image or volume "debian:13". To inspect an '
        "image in a registry, add the transport: docker://debian:13.\n"
    )


@pytest.mark.parametrize("columns", WIDTHS)
async def test_history_shows_the_steps_of_the_build(user: PoolUser, columns: int) -> None:
    command = "RUN apt-get update && apt-get install --yes systemd openssh-server iproute2 # " * 2
    steps = [
        {"created": "2026-11-25T19:00:05Z", "created_by": "ADD rootfs.tar /"},
        {"created_by": command.strip(), "comment": "buildkit.dockerfile.v0"},
    ]
    await user.pull(image(some_layers("base", "top"), config={"history": steps}), "demo")
    rows = await user.run("history", "demo", user.pool)
    check_document(rows)
    assert [row["created_by"] for row in rows] == [command.strip(), "ADD rootfs.tar /"]
    assert rows[1]["created_at"] == "2026-11-25T19:00:05.000Z"
    lines = await shown(user, "history", "demo", user.pool, columns=columns)
    assert max(map(len, lines)) <= columns
    # Every word is there, wherever the lines are broken.
    assert set(command.split()) <= {word for line in lines for word in line.split()}


async def test_history_of_an_image_that_the_pool_does_not_have(user: PoolUser) -> None:
    ended = await user.fail("history", "nothing", user.pool)
    assert (ended.status, "virtlayer images" in ended.stderr) == (3, True)


async def test_a_failed_job_keeps_its_reason(user: PoolUser) -> None:
    number = await failed_job(user)
    [row] = await user.run("jobs", "--filter", f"id={number}")
    check_document(row)
    assert (row["kind"], row["state"], row["pool"]) == ("pull", "failed", user.pool)
    assert row["error"] == "ImageNotFound"
    assert "a-repository-that-does-not-exist" in row["message"]
    assert row["user"] == ("root" if os.geteuid() == 0 else getpass.getuser())
    assert row["started_at"] <= row["finished_at"]
    assert f"Job {number} failed: {row['message']}" in await user.tell("jobs")
    text = await user.tell("job", "show", str(number))
    assert f"message: {row['message']}\n" in text
    assert await user.run("job", "show", str(number)) == row | {"result": None}


@pytest.mark.parametrize("columns", WIDTHS)
async def test_a_table_of_jobs_cuts_no_error(first_user: PoolUser, columns: int) -> None:
    number = await failed_job(first_user)
    [row] = await first_user.run("jobs")
    lines = await shown(first_user, "jobs", columns=columns)
    assert lines[0].split() == ["ID", "KIND", "STATE", "DONE", "POOL", "USER", "AGE", "SUBJECT"]
    message = f"Job {number} failed: {row['message']}"
    assert message in lines
    table = lines[: lines.index(message)]
    assert max(map(len, table)) <= columns
    # The last column, whose words are continued where they do not fit.
    start = lines[0].index("SUBJECT")
    assert "".join(line[start:] for line in table[1:]) == row["subject"]


async def test_a_job_that_is_done_shows_its_result(first_user: PoolUser) -> None:
    volumes = await first_user.pull(some_image("base"), "demo")
    [number] = (await first_user.tell("jobs", "-q")).split()
    found = await first_user.run("job", "show", number)
    check_document(found)
    assert found["result"]["volumes"] == volumes
    assert await first_user.run("job", "wait", number) == found["result"]
    text = await first_user.tell("job", "show", number)
    assert "   layers built: 1\n" in text
    assert re.search(r"bytes downloaded: \d+ B\n", text)
    assert await first_user.tell("job", "wait", number) == f"Job {number} (pull) is done.\n"


@pytest.mark.parametrize("command", [["job", "show"], ["job", "wait"], ["cancel"]])
async def test_a_job_that_does_not_exist(user: PoolUser, command: list[str]) -> None:
    ended = await user.fail(*command, "4000000000")
    assert (ended.status, "virtlayer jobs" in ended.stderr) == (3, True)


@pytest.fixture
async def slow_source() -> AsyncIterator[str]:
    """A source whose layer never arrives."""
    async with FaultyRegistry() as slow:
        content = some_image("slow")
        source = slow.store(content, "slow:1")
        slow.faults[json.loads(content.manifest)["layers"][0]["digest"]] = Fault.HANG
        yield source


async def test_ctrl_c_ends_the_waiting_and_not_the_job(
    first_user: PoolUser, slow_source: str
) -> None:
    pull = ("pull", "--no-wait", slow_source, first_user.pool, "--tls-verify=false")
    number = (await first_user.tell(*pull)).strip()
    wait = ("--user", "--json", "job", "wait", number)
    async with started(*wait, env=first_user.daemon.environment) as waiting:
        assert waiting.stderr is not None
        await waiting.stderr.readline()
        waiting.send_signal(2)
        await waiting.communicate()
        assert waiting.returncode == 130
    [row] = await first_user.run("jobs")
    assert row["state"] == "running"
    assert await first_user.tell("cancel", number) == f"Job {number} was cancelled.\n"
    assert await first_user.tell("jobs", "-q", "--filter", "state=running") == ""
    ended = await first_user.fail("job", "wait", number)
    assert ended.status == 130


@pytest.mark.parametrize("columns", WIDTHS)
async def test_the_status_of_configured_images_cuts_no_message(
    first_user: PoolUser, columns: int
) -> None:
    assert await first_user.tell("status") == "No images are configured. See virtlayer-images(5).\n"
    directory = Path(first_user.daemon.environment["XDG_CONFIG_HOME"]) / "virtlayer" / "images.d"
    directory.mkdir(parents=True)
    source = f"docker://{first_user.registry.host}/a-repository-that-does-not-exist:1"
    (directory / "missing.toml").write_text(f'source = "{source}"\n')
    await first_user.fail("populate")
    [row] = await first_user.run("status")
    check_document(row)
    assert row["error"]
    lines = await shown(first_user, "status", columns=columns)
    assert f"{row['name']}: {row['message']}" in lines
    assert any(re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}", one) for one in lines)
    table = [line for line in lines if not line.startswith(row["name"] + ":")]
    assert max(map(len, table)) <= columns


async def test_an_invalid_file_of_an_image_is_named_once(first_user: PoolUser) -> None:
    directory = Path(first_user.daemon.environment["XDG_CONFIG_HOME"]) / "virtlayer" / "images.d"
    directory.mkdir(parents=True)
    invalid = directory / "invalid.toml"
    invalid.write_text("sauce = 1\n")
    [row] = await first_user.run("status")
    check_document(row)
    assert (row["name"], row["pool"], row["source"]) == (str(invalid), None, None)
    ended = await first_user.fail("populate")
    for text in (await first_user.tell("status"), ended.stdout):
        [message] = [line for line in text.splitlines() if "sauce" in line]
        assert message.startswith(f'{invalid}, line 1: unknown key "sauce".')


async def test_a_failed_job_names_the_option_as_it_is_typed(first_user: PoolUser) -> None:
    source = f"docker://{first_user.registry.host}/a-repository-that-does-not-exist:1"
    await first_user.fail("pull", source, first_user.pool)
    [row] = await first_user.run("jobs")
    assert "Use --tls-verify=false" in row["message"]
    for text in (
        await first_user.tell("jobs"),
        await first_user.tell("job", "show", str(row["id"])),
    ):
        assert row["message"] in text


async def test_many_jobs_are_listed_within_the_quota_of_calls(first_user: PoolUser) -> None:
    runs = (first_user.run("prune", first_user.pool, "--dry-run") for _ in range(40))
    await asyncio.gather(*runs)
    assert len(await first_user.run("jobs")) == 40


async def test_an_image_gets_another_name(user: PoolUser) -> None:
    content = some_image("base")
    await user.pull(content, "one")
    await user.pull(some_image("other"), "other")
    assert await user.tell("tag", "one", "two", user.pool) == "two: another name of one\n"
    rows = await user.run("images", user.pool, "--filter", f"digest={content.digest}")
    assert [row["name"] for row in rows] == ["one", "two"]
    ended = await user.fail("tag", "one", "other", user.pool)
    assert (ended.status, "--replace" in ended.stderr) == (7, True)
    tagged = await user.run("tag", "one", "other", user.pool, "--replace")
    assert tagged == {"name": "other", "image": "one", "pool": user.pool}
    ended = await user.fail("tag", "nothing", "new", user.pool)
    assert ended.status == 3


async def test_inspect_shows_former_versions(user: PoolUser) -> None:
    before = some_image("before")
    await user.pull(before, "demo")
    await user.pull(some_image("after"), "demo")
    [row] = await user.run("images", user.pool)
    assert row["former_versions"] == 1
    found = await user.run("inspect", "demo", user.pool)
    check_document(found)
    assert [one["digest"] for one in found["former"]] == [before.digest]
    assert before.digest[7:19] in await user.tell("inspect", "demo", user.pool)


@pytest.mark.parametrize(
    "command",
    ["images", "volumes", "df", "prune", "rescan", "inspect x", "history x", "remove-volume x"],
)
async def test_a_pool_that_does_not_exist(user: PoolUser, command: str) -> None:
    ended = await user.fail(*command.split(), "no-such-pool")
    assert (ended.status, '"no-such-pool"' in ended.stderr) == (3, True), ended.stderr


async def test_prune_without_unused_layers_is_reported(user: PoolUser) -> None:
    await user.pull(some_image("base"), "demo")
    for options in ((), ("--dry-run",)):
        told = await user.tell("prune", user.pool, *options)
        assert told == "Nothing to delete: images, volumes and machines use everything.\n"


async def test_a_template_can_be_a_table_for_people(first_user: PoolUser) -> None:
    await first_user.pull(some_image("base"), "demo")
    template = "table {{.name}} {{.virtual_size}} {{.unsigned_accepted}} {{.broken}}"
    [header, line] = (await first_user.tell("images", "--format", template)).splitlines()
    assert re.split("  +", header) == ["NAME", "VIRTUAL SIZE", "UNSIGNED ACCEPTED", "BROKEN"]
    assert re.split("  +", line) == ["demo", "64 MiB", "true", "-"]


async def test_removing_an_image_reports_layers_kept_for_another(
    user: PoolUser,
) -> None:
    content = some_image("base")
    await user.pull(content, "one")
    await user.pull(content, "two")
    assert await user.tell("rmi", "one", user.pool) == (
        "Removed one. Its layers are kept: other images or volumes use them.\n"
    )
    assert (await user.tell("remove", "two", user.pool)).startswith(
        "Removed two, and deleted 1 layer volume, "
    )
