# SPDX-License-Identifier: LGPL-2.1-or-later
"""Quotas: one user has a limited share of the service, and does not displace others."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dbus_next.constants import MessageFlag, MessageType
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.bus.daemon import Daemon, virtlayerd
from tests.bus.polkit import open_directory, polkitd
from tests.bus.users import MANAGER, ROOT, SERVICE, user
from tests.support import images
from tests.support.bus_daemon import Bus, system_bus
from tests.support.faulty_registry import FaultyRegistry
from tests.support.leftovers import children_of
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.root
ALLOW = (
    "polkit.addRule(function (action) {"
    'if (action.id.indexOf("org.virtlayer1.") == 0) return polkit.Result.YES;'
    "});\n"
)
PLAIN = {"tls-verify": Variant("b", False)}
JOB = "org.virtlayer1.Job"
PROPERTIES = "org.freedesktop.DBus.Properties"


@pytest.fixture
def system() -> Iterator[Bus]:
    with (
        open_directory() as directory,
        system_bus(directory, others=["org.freedesktop.PolicyKit1.conf"]) as running,
    ):
        yield running


class SilentRegistry:
    """Accepts connections, and says nothing on them."""

    def __init__(self, port: int) -> None:
        self.reference = f"docker://127.0.0.1:{port}/x"
        self.connections = 0
        self.connected = asyncio.Condition()

    async def has(self, number: int) -> None:
        """Wait until so many connections were made."""
        async with asyncio.timeout(PATIENCE), self.connected:
            await self.connected.wait_for(lambda: self.connections >= number)


@pytest.fixture
async def silent() -> AsyncIterator[SilentRegistry]:
    writers = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        async with registry.connected:
            registry.connections += 1
            registry.connected.notify_all()
        await reader.read()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    registry = SilentRegistry(server.sockets[0].getsockname()[1])
    yield registry
    server.close()
    for writer in writers:
        writer.close()


def programs(daemon: Daemon, name: str) -> int:
    """How many programs of that name the daemon runs."""
    found = 0
    for pid in children_of(daemon.process.pid):
        with contextlib.suppress(OSError):
            found += Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] == name.encode()
    return found


async def until_copies(daemon: Daemon, descriptor: int, number: int) -> None:
    """Wait until the daemon has so many descriptors of a pipe; they are closed in threads."""
    pipe = Path(f"/proc/self/fd/{descriptor}").readlink()
    await until(lambda: copies_of(daemon, pipe) == number)


def copies_of(daemon: Daemon, file: Path) -> int:
    count = 0
    for entry in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += entry.readlink() == file
    return count


async def busy_answers(calls: list[asyncio.Task[Message]], number: int) -> list[str]:
    """Wait for so many answers, all of which must be Busy; return their texts."""
    answered: list[str] = []
    async with asyncio.timeout(PATIENCE):
        for done in asyncio.as_completed(calls):
            reply = await done
            assert (reply.message_type, reply.error_name) == (
                MessageType.ERROR,
                "org.virtlayer1.Error.Busy",
            ), reply.body
            answered.append(reply.body[0])
            if len(answered) == number:
                break
    assert sum(call.done() for call in calls) == number
    return answered


def end(calls: list[asyncio.Task[Message]]) -> None:
    for call in calls:
        call.cancel()


async def calls_are_sent() -> None:
    """Let the tasks that were just created send their calls, before the next call is sent."""
    await asyncio.sleep(0)


async def test_sixty_inspections_of_one_user_start_two_and_delay_no_other_user(
    system: Bus, tmp_path: Path, silent: SilentRegistry
) -> None:
    async with (
        polkitd(system, ALLOW),
        virtlayerd(system, tmp_path) as daemon,
        user(system, "nobody") as nobody,
        user(system, "games") as games,
        FaultyRegistry() as registry,
    ):
        await nobody.ask("ListJobs")
        inspect = ("Inspect", "sa{sv}", silent.reference, PLAIN)
        calls = [asyncio.create_task(nobody.call(*inspect)) for _ in range(60)]
        told = await busy_answers(calls, 60 - 16)
        limit = "Your limit of 16 calls in progress is reached (quota.calls in virtlayerd.toml)"
        assert all(text.startswith(limit) for text in told)
        await silent.has(2)
        assert programs(daemon, "skopeo") == 2
        source = registry.store(images.image([images.layer(images.file("x"))]), "x:1")
        found = await games.ask("Inspect", "sa{sv}", source, PLAIN)
        assert found["reference"].value == source
        assert programs(daemon, "skopeo") == 2
        assert silent.connections == 2
        end(calls)


async def test_inspections_end_when_their_caller_leaves_the_bus(
    system: Bus, tmp_path: Path, silent: SilentRegistry
) -> None:
    inspect = ("Inspect", "sa{sv}", silent.reference, PLAIN)
    async with (
        polkitd(system, ALLOW),
        virtlayerd(system, tmp_path) as daemon,
        user(system, "nobody") as staying,
    ):
        async with user(system, "nobody") as leaving:
            calls = [asyncio.create_task(leaving.call(*inspect)) for _ in range(2)]
            await silent.has(2)
            last = asyncio.create_task(staying.call(*inspect))
            await calls_are_sent()
            await staying.ask("ListJobs")
            assert silent.connections == 2
            end(calls)
        # Their slots are free, and their programs have ended.
        await silent.has(3)
        await until(lambda: programs(daemon, "skopeo") == 1)
        end([last])
        await staying.connection.close()
        await until(lambda: not programs(daemon, "skopeo"))


async def test_a_flood_from_a_new_connection_is_limited_before_its_user_is_known(
    system: Bus, tmp_path: Path, silent: SilentRegistry
) -> None:
    """Nobody counts such calls elsewhere: the bus counts those that want a reply."""
    async with (
        polkitd(system, ALLOW),
        virtlayerd(system, tmp_path) as daemon,
        user(system, "nobody") as nobody,
    ):
        for _ in range(500):
            nobody.connection.send(
                Message(
                    destination=SERVICE,
                    path=ROOT,
                    interface=MANAGER,
                    member="Inspect",
                    signature="sa{sv}",
                    body=[silent.reference, PLAIN],
                    flags=MessageFlag.NO_REPLY_EXPECTED,
                )
            )
        assert (await nobody.refused("ListJobs"))[0] == "Busy"
        await silent.has(2)
        assert programs(daemon, "skopeo") == 2
        assert await daemon.ask("ListJobs") == []


async def test_forty_pulls_of_one_user_delay_no_other(
    system: Bus, tmp_path: Path, silent: SilentRegistry
) -> None:
    async with (
        polkitd(system, ALLOW),
        virtlayerd(system, tmp_path) as daemon,
        user(system, "nobody") as nobody,
        user(system, "games") as games,
        user(system, "news") as news,
    ):
        pull = ("Pull", "ssa{sv}", silent.reference, "default-pool", PLAIN)
        for _ in range(40):
            await nobody.ask(*pull)
        started = [await other.ask(*pull) for other in (games, games, news)]
        async with asyncio.timeout(PATIENCE):
            while (states := [row[3] for row in await daemon.ask("ListJobs")]).count("running") < 6:
                await asyncio.sleep(0.01)
        assert states[:4] == ["running"] * 4
        assert [states[number - 1] for number, _path in started] == ["running", "queued", "running"]
        # Of two free slots the second one is for the other user, not for the thirty-six before.
        for number in (1, 2, 3, 4):
            await nobody.ask("Cancel", path=f"{ROOT}/job/{number}", interface=JOB)
        async with asyncio.timeout(PATIENCE):
            while (await daemon.ask("ListJobs"))[started[1][0] - 1][3] != "running":
                await asyncio.sleep(0.01)


async def test_the_queue_of_a_user_is_limited_and_roots_is_not(
    system: Bus, tmp_path: Path, silent: SilentRegistry
) -> None:
    settings = "[jobs]\nrunning-limit = 1\n[quota]\nqueued-jobs = 3\n"
    async with (
        polkitd(system, ALLOW),
        virtlayerd(system, tmp_path, settings=settings) as daemon,
        user(system, "nobody") as nobody,
        user(system, "games") as games,
    ):
        pull = ("Pull", "ssa{sv}", silent.reference, "default-pool", PLAIN)
        jobs = [(await nobody.ask(*pull))[1] for _ in range(4)]
        name, text = await nobody.refused(*pull)
        assert (name, "Your limit of 3 queued jobs is reached" in text) == ("Busy", True)
        assert "quota.queued-jobs" in text
        for _ in range(10):
            await daemon.ask(*pull)
        await games.ask(*pull)
        await nobody.ask("Cancel", path=jobs[-1], interface=JOB)
        await nobody.ask(*pull)


async def test_descriptors_of_a_user_are_limited(system: Bus, tmp_path: Path) -> None:
    async with (
        polkitd(system, ALLOW),
        virtlayerd(system, tmp_path) as daemon,
        user(system, "nobody") as nobody,
        user(system, "games") as games,
    ):
        await nobody.ask("ListJobs")
        await games.ask("ListJobs")
        reading, writing = os.pipe()
        pull = ("Pull", "ssa{sv}", "docker://x.test/y", "nowhere")
        held = (*pull, {"auth-fd": Variant("h", 0)})
        calls = [
            asyncio.create_task(nobody.call(*held, descriptors=[reading] * 16)) for _ in range(4)
        ]
        # What is being read has a copy more, which its reader owns.
        await until_copies(daemon, reading, 64 + 4)
        name, text = await nobody.refused(*held, descriptors=[reading])
        assert (name, "64 file descriptors" in text) == ("Busy", True)
        await until_copies(daemon, reading, 64 + 4)
        # Without a descriptor, and for others, there is room.
        await nobody.ask("ListJobs")
        with Path(os.devnull).open(encoding="ascii") as empty:
            name, _text = await games.refused(*held, descriptors=[empty.fileno()])
            assert name == "InvalidArgument"
            os.close(writing)
            answers = await asyncio.gather(*calls)
            assert {answer.error_name for answer in answers} == {
                "org.virtlayer1.Error.InvalidArgument"
            }
            await until_copies(daemon, reading, 0)
            os.close(reading)
            name, _text = await nobody.refused(*held, descriptors=[empty.fileno()])
            assert name == "InvalidArgument"


async def test_secrets_of_queued_jobs_keep_no_descriptor(
    system: Bus, tmp_path: Path, silent: SilentRegistry
) -> None:
    authfile = tmp_path / "auth.json"
    authfile.write_text('{"auths": {}}')
    settings = "[jobs]\nrunning-limit = 1\n[quota]\ndescriptors = 2\n"
    async with (
        polkitd(system, ALLOW),
        virtlayerd(system, tmp_path, settings=settings) as daemon,
        user(system, "nobody") as nobody,
    ):
        options = PLAIN | {"auth-fd": Variant("h", 0)}
        pull = ("Pull", "ssa{sv}", silent.reference, "default-pool", options)
        with authfile.open() as file:
            for _ in range(5):
                await nobody.ask(*pull, descriptors=[file.fileno()])
                await until_copies(daemon, file.fileno(), 0)
        states = [row[3] for row in await nobody.ask("ListJobs")]
        assert states.count("queued") == 4


async def test_root_may_have_any_number_of_calls(
    system: Bus, tmp_path: Path, silent: SilentRegistry
) -> None:
    async with virtlayerd(system, tmp_path) as daemon, user(system, "root") as root:
        inspect = ("Inspect", "sa{sv}", silent.reference, PLAIN)
        calls = [asyncio.create_task(root.call(*inspect)) for _ in range(40)]
        await silent.has(2)
        assert await root.ask("ListJobs") == []
        assert not any(call.done() for call in calls)
        # But no more programs than anybody else.
        assert programs(daemon, "skopeo") == 2
        end(calls)


async def test_calls_that_wait_for_a_job_are_limited_apart_from_others(
    system: Bus, tmp_path: Path, silent: SilentRegistry
) -> None:
    async with (
        polkitd(system, ALLOW),
        virtlayerd(system, tmp_path) as daemon,
        user(system, "nobody") as nobody,
        user(system, "games") as games,
    ):
        _number, job = await nobody.ask("Pull", "ssa{sv}", silent.reference, "default-pool", PLAIN)
        where = {"path": job, "interface": JOB}
        waits = [asyncio.create_task(nobody.call("Wait", **where)) for _ in range(64)]
        await calls_are_sent()
        # Calls of one connection arrive in order: when this is answered, all of them wait.
        await nobody.ask("ListJobs")
        error, text = await nobody.refused("Wait", **where)
        assert (error, "64 calls that wait for jobs" in text) == ("Busy", True), text
        async with user(system, "nobody") as second:
            assert (await second.refused("Wait", **where))[0] == "Busy"
        # Others can wait as well.
        other = asyncio.create_task(games.call("Wait", **where))
        await calls_are_sent()
        await games.ask("ListJobs")
        await daemon.ask("Cancel", **where)
        for wait in [*waits, other]:
            async with asyncio.timeout(PATIENCE):
                assert (await wait).body[0] == "cancelled"


async def test_calls_that_wait_end_with_their_connection(
    system: Bus, tmp_path: Path, silent: SilentRegistry
) -> None:
    async with (
        polkitd(system, ALLOW),
        virtlayerd(system, tmp_path) as daemon,
        user(system, "nobody") as nobody,
    ):
        _number, job = await nobody.ask("Pull", "ssa{sv}", silent.reference, "default-pool", PLAIN)
        where = {"path": job, "interface": JOB}
        async with user(system, "nobody") as leaving:
            waits = [asyncio.create_task(leaving.call("Wait", **where)) for _ in range(64)]
            await calls_are_sent()
            await leaving.ask("ListJobs")
            assert (await nobody.refused("Wait", **where))[0] == "Busy"
        assert all(
            isinstance(end, EOFError)
            for end in await asyncio.gather(*waits, return_exceptions=True)
        )
        async with asyncio.timeout(PATIENCE):
            # The service learns from the bus that the connection has ended; until then it is Busy.
            while True:
                wait = asyncio.create_task(nobody.call("Wait", **where))
                await calls_are_sent()
                await nobody.ask("ListJobs")
                if not wait.done():
                    break
        await daemon.ask("Cancel", **where)
        assert (await wait).body[0] == "cancelled"


async def test_calls_of_many_users_that_wait_for_a_job_leave_room_for_others(
    system: Bus, tmp_path: Path, silent: SilentRegistry
) -> None:
    """They have more than the 512 match rules that a bus allows one connection by default."""
    users = ("nobody", "games", "news", "man", "lp", "mail", "uucp", "proxy", "backup")
    async with virtlayerd(system, tmp_path) as daemon, contextlib.AsyncExitStack() as stack:
        _number, job = await daemon.ask("Pull", "ssa{sv}", silent.reference, "default-pool", PLAIN)
        where = {"path": job, "interface": JOB}
        waits = []
        for name in users:
            waiting = await stack.enter_async_context(user(system, name))
            await waiting.ask("ListJobs")
            waits += [asyncio.create_task(waiting.call("Wait", **where)) for _ in range(64)]
            await calls_are_sent()
            # Calls of one connection arrive in order: when this is answered, all of them wait.
            await waiting.ask("ListJobs")
        root = await stack.enter_async_context(user(system, "root"))
        last = asyncio.create_task(root.call("Wait", **where))
        await calls_are_sent()
        name, _text = await root.refused("Inspect", "sa{sv}", "docker://127.0.0.1:1/x", PLAIN)
        assert name == "RegistryUnavailable"
        assert not any(wait.done() for wait in (*waits, last))
        end([*waits, last])
