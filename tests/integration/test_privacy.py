# SPDX-License-Identifier: LGPL-2.1-or-later
"""On the system bus, users see names and states of what others have, and nothing else of it."""

import asyncio
import os
import pwd
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import Variant

from tests.bus.daemon import virtlayerd
from tests.bus.polkit import open_directory, polkitd
from tests.bus.users import User, user
from tests.support import images
from tests.support.bus_daemon import Bus, system_bus
from tests.support.command import COMMAND
from tests.support.faulty_registry import FaultyRegistry
from tests.support.job_watch import plain
from tests.support.libvirt_host import LibvirtHost
from tests.support.ordinary_user import as_user
from tests.support.waiting import PATIENCE
from virtlayer.sizes import MIB

pytestmark = pytest.mark.root
SECRET = "TOKEN=hunter2"
RULES = (
    "polkit.addRule(function (action, subject) {"
    'if (action.id == "org.virtlayer1.read-details")'
    '  return subject.user == "news" ? polkit.Result.YES : polkit.Result.NOT_HANDLED;'
    'if (action.id.indexOf("org.virtlayer1.") == 0) return polkit.Result.YES;'
    "});\n"
)
JOB, IMAGE = "org.virtlayer1.Job", "org.virtlayer1.Image"
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"


@dataclass
class World:
    """A daemon on a system bus, and a private image of the user nobody."""

    bus: Bus
    pool: str
    nobody: User
    games: User
    news: User
    image: str
    volume: str
    done: str
    failed: str
    private: list[str]

    def private_parts(self, *values: object) -> list[str]:
        """The private data of the user nobody in these values."""
        text = repr([plain(value) for value in values])
        return [part for part in self.private if part in text]

    def all_signals(self, who: User) -> list[object]:
        return [value for message in who.signals for value in message.body]


@pytest.fixture
def system() -> Iterator[Bus]:
    with (
        open_directory() as directory,
        system_bus(directory, others=["org.freedesktop.PolicyKit1.conf"]) as running,
    ):
        yield running


def configuration(directory: Path, source: str, pool: str) -> Path:
    """A directory with an image that the administrator has configured."""
    folder = directory / "configuration"
    (folder / "images.d").mkdir(parents=True)
    (folder / "images.d" / "own.toml").write_text(
        f'source = "{source}"\npool = "{pool}"\nname = "configured"\ntls-verify = false\n'
    )
    return folder


@pytest.fixture
async def world(system: Bus, host: LibvirtHost, tmp_path: Path) -> AsyncIterator[World]:
    pool = "private"
    host.start_pool(pool)
    settings = f"[storage]\nvirtual-size = {64 * MIB}\n"
    async with FaultyRegistry() as registry:
        layer = images.layer(images.file("x"))
        content = images.image([layer], config={"config": {"Env": [SECRET]}})
        source = registry.store(content, "team/hidden:1")
        missing = source.replace("team/hidden", "team/absent")
        async with (
            polkitd(system, RULES),
            virtlayerd(
                system,
                tmp_path,
                "--connect",
                host.uri,
                settings=settings,
                configuration=configuration(tmp_path, source, pool),
            ) as daemon,
            user(system, "nobody") as nobody,
            user(system, "games") as games,
            user(system, "news") as news,
        ):
            await games.listen()
            options = {"tls-verify": Variant("b", False), "name": Variant("s", "shown")}
            done = await finished(nobody, await pull(nobody, source, pool, options))
            other = options | {"name": Variant("s", "other")}
            failed = await finished(nobody, await pull(nobody, missing, pool, other))
            # What is told about the end has been told when later calls are answered.
            await games.ask("ListJobs")
            [(path, *_)] = await nobody.ask("ListImages", "s", pool)
            values = await properties(nobody, path, IMAGE)
            private = [registry.host, "hidden", "absent", SECRET, content.digest]
            private += [content.config_digest, layer.diff_id]
            yield World(
                system, pool, nobody, games, news, path, values["Volume"], done, failed, private
            )
            assert daemon.process.returncode is None
    host.stop_pool(pool)
    # With the images that it describes.
    shutil.rmtree(host.pool_directory(pool))


async def pull(who: User, source: str, pool: str, options: dict[str, Variant]) -> str:
    _number, path = await who.ask("Pull", "ssa{sv}", source, pool, options)
    return str(path)


async def finished(who: User, path: str) -> str:
    async with asyncio.timeout(PATIENCE):
        while not (await properties(who, path, JOB))["FinishedAt"]:
            await asyncio.sleep(0.01)
    return path


async def properties(who: User, path: str, interface: str) -> dict[str, Any]:
    values = await who.ask("GetAll", "s", interface, path=path, interface=PROPERTIES)
    return {name: plain(value) for name, value in values.items()}


async def test_users_see_names_and_states_of_others(world: World) -> None:
    games = world.games
    assert await games.ask("ListImages", "s", world.pool) == [
        [world.image, world.pool, "shown", "", ""]
    ]
    jobs = [row[2:] for row in await games.ask("ListJobs")]
    assert jobs == [["pull", "done", "", 1.0], ["pull", "failed", "", 0.0]]
    image = await properties(games, world.image, IMAGE)
    assert image["Name"] == "shown"
    assert image.keys() == {
        *("Name", "Pool", "Os", "Architecture", "Volume", "Size", "PulledAt", "UnsignedAccepted"),
        "Broken",
    }
    job = await properties(games, world.failed, JOB)
    assert (job["State"], job["Error"]) == ("failed", "org.virtlayer1.Error.ImageNotFound")
    assert job.keys().isdisjoint({"Source", "Message", "Result"})
    everything = await games.ask("GetManagedObjects", interface=OBJECT_MANAGER)
    assert {world.image, world.done, world.failed} == everything.keys()
    volume = await games.ask("DescribeVolume", "ss", world.pool, world.volume)
    assert (volume["image"].value, volume["config"].value) == ("shown", "")
    assert await games.ask("ListConfigured") == []
    assert world.private_parts(image, job, everything, volume) == []


async def test_single_hidden_values_are_refused(world: World) -> None:
    for path, interface, names in (
        (world.image, IMAGE, ("Source", "Digest", "ImageId", "Layers", "Config", "PolicyScope")),
        (world.failed, JOB, ("Source", "Message", "Result")),
    ):
        for name in names:
            get = ("Get", "ss", interface, name)
            error, text = await world.games.refused(*get, path=path, interface=PROPERTIES)
            assert (error, "org.virtlayer1.read-details" in text) == ("NotAuthorized", True)
            assert world.private_parts(text) == []
            await world.nobody.ask(*get, path=path, interface=PROPERTIES)


async def test_wait_returns_no_message_and_no_result_to_others(world: World) -> None:
    not_found = "org.virtlayer1.Error.ImageNotFound"
    failed = await world.games.ask("Wait", path=world.failed, interface=JOB)
    assert failed == ["failed", not_found, "", {}]
    assert await world.games.ask("Wait", path=world.done, interface=JOB) == ["done", "", "", {}]
    for who in (world.nobody, world.news):
        state, error, message, result = await who.ask("Wait", path=world.failed, interface=JOB)
        assert (state, error, "absent" in message, result) == ("failed", not_found, True, {})
        assert "digest" in (await who.ask("Wait", path=world.done, interface=JOB))[3]


async def test_the_config_of_an_image_is_returned_to_its_owners_only(world: World) -> None:
    error, text = await world.games.refused("GetConfig", path=world.image, interface=IMAGE)
    assert (error, "org.virtlayer1.read-details" in text) == ("NotAuthorized", True)
    for who in (world.nobody, world.news):
        assert SECRET in await who.ask("GetConfig", path=world.image, interface=IMAGE)


async def test_signals_to_everybody_have_nothing_private(world: World) -> None:
    members = [message.member for message in world.games.signals]
    assert {"InterfacesAdded", "JobAdded", "PropertiesChanged", "Finished", "JobFinished"} <= {
        *members
    }
    assert world.private_parts(*world.all_signals(world.games)) == []
    left_out = [
        name
        for message in world.games.signals
        if (message.member, message.path) == ("PropertiesChanged", world.failed)
        for name in message.body[2]
    ]
    assert {"Message", "Result"} <= {*left_out}


async def test_owners_and_managers_see_everything(world: World) -> None:
    for who in (world.nobody, world.news):
        [row] = await who.ask("ListImages", "s", world.pool)
        volume = await who.ask("DescribeVolume", "ss", world.pool, world.volume)
        seen = [
            row,
            await who.ask("ListJobs"),
            await properties(who, world.image, IMAGE),
            await properties(who, world.failed, JOB),
            volume,
        ]
        assert sorted(world.private_parts(seen)) == sorted(world.private)
        assert SECRET in volume["config"].value
        everything = await who.ask("GetManagedObjects", interface=OBJECT_MANAGER)
        assert sorted(world.private_parts(everything)) == sorted(world.private)


async def test_configured_images_are_for_managers_and_belong_to_root(world: World) -> None:
    """Populate is allowed to nobody here; that does not make the images nobody's."""
    _number, path = await world.nobody.ask("Populate", "a{sv}", {})
    await finished(world.nobody, path)
    assert (await properties(world.news, path, JOB))["Result"]["images"][0]["outcome"] == "new"
    assert "Result" not in await properties(world.nobody, path, JOB)
    [configured] = await world.news.ask("ListConfigured")
    assert (configured["name"].value, configured["error"].value) == ("configured", "")
    assert "hidden" in configured["source"].value
    assert await world.nobody.ask("ListConfigured") == []
    assert await world.games.ask("ListConfigured") == []
    rows = {row[2]: row for row in await world.games.ask("ListImages", "s", world.pool)}
    assert rows["configured"][3:] == ["", ""]
    assert world.private_parts(*world.all_signals(world.games)) == []


async def test_second_puller_of_an_image_sees_its_config(world: World) -> None:
    source = (await properties(world.nobody, world.image, IMAGE))["Source"]
    options = {"tls-verify": Variant("b", False), "name": Variant("s", "shown")}
    await finished(world.games, await pull(world.games, source, world.pool, options))
    assert SECRET in (await properties(world.games, world.image, IMAGE))["Config"]
    assert SECRET in (await properties(world.nobody, world.image, IMAGE))["Config"]


async def virtlayer_as(world: World, name: str, *arguments: str) -> tuple[int | None, str]:
    """Run the command as a user; its exit status, and all that it prints."""
    process = await asyncio.create_subprocess_exec(
        *map(str, as_user(pwd.getpwnam(name).pw_uid, COMMAND, *arguments)),
        env={
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "DBUS_SYSTEM_BUS_ADDRESS": world.bus.address,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


async def test_command_shows_the_result_of_the_users_job(world: World) -> None:
    source = (await properties(world.nobody, world.image, IMAGE))["Source"]
    missing = source.replace("hidden", "absent")
    pull = ("pull", "--tls-verify=false")
    status, output = await virtlayer_as(world, "games", *pull, missing, world.pool)
    assert (status, "absent" in output) == (3, True), output
    status, output = await virtlayer_as(
        world, "games", *pull, "--json", "--name=mine", source, world.pool
    )
    assert (status, '"layers_reused": 1' in output) == (0, True), output


async def test_the_command_prints_no_domain_from_a_hidden_configuration(world: World) -> None:
    xml = ("xml", "--kernel=/dev/null", "--initrd=/dev/null", "--volume=shown.qcow2")
    status, output = await virtlayer_as(world, "games", *xml, "shown", world.pool)
    assert (status, "org.virtlayer1.read-details" in output) == (4, True), output
    assert world.private_parts(output) == []
    status, output = await virtlayer_as(world, "nobody", *xml, "shown", world.pool)
    assert (status, "<domain" in output) == (0, True), output
