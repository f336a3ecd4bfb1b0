# SPDX-License-Identifier: LGPL-2.1-or-later
"""Authorization on a session bus, and on the system bus with and without polkitd."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.bus.daemon import Daemon, virtlayerd
from tests.bus.polkit import (
    NOBODY,
    POLICIES,
    as_nobody,
    call_as_nobody,
    open_directory,
    polkitd,
)
from tests.bus.users import user
from tests.support.bus_daemon import Bus, session_bus, system_bus
from tests.support.command import COMMAND, Ended
from tests.support.images import file, image, layer, write_layout
from tests.support.ordinary_user import as_user
from tests.support.privileges import as_root
from tests.support.waiting import PATIENCE, stop
from virtlayer.dbus.connection import Connection
from virtlayer.errors import NotAuthorized
from virtlayer.service.bus.authority import Action, SystemAuthority
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.callers import Callers
from virtlayer.service.bus.exporter import Exporter
from virtlayer.service.bus.members import Interface, method

SOURCE = "docker://x.test/y"
PULL = ("Pull", "ssa{sv}", SOURCE, "nowhere", "0")
JOB = "org.virtlayer1.Job"
PROPERTIES = "org.freedesktop.DBus.Properties"


def rule(result: str, action: str = "org.virtlayer1.") -> str:
    return (
        "polkit.addRule(function (action, subject) {"
        f'if (action.id.indexOf("{action}") == 0) return polkit.Result.{result};'
        "});\n"
    )


@pytest.fixture
def system() -> Iterator[Bus]:
    with (
        open_directory() as directory,
        system_bus(directory, others=["org.freedesktop.PolicyKit1.conf"]) as running,
    ):
        yield running


async def ask_as_root(bus: Bus, member: str, *arguments: str, path: str = "/org/virtlayer1") -> str:
    """Call as root, whoever runs the tests."""
    interface = JOB if "/job/" in path else "org.virtlayer1.Manager"
    call = ("call", "org.virtlayer1", path, interface, member, *arguments)
    command = map(str, as_root("busctl", f"--address={bus.address}", *call))
    return await asyncio.to_thread(lambda: bus.run(*command))


async def test_session_serves_only_its_user(tmp_path: Path) -> None:
    with open_directory() as directory, session_bus(directory) as bus:
        async with virtlayerd(bus, tmp_path) as daemon:
            for call in (("ListJobs",), PULL):
                assert "only the user that it runs as" in await call_as_nobody(bus, *call)
            assert await daemon.ask("ListJobs") == []


async def test_without_polkit_only_root_may_act_and_everyone_may_look(
    system: Bus, tmp_path: Path
) -> None:
    async with virtlayerd(system, tmp_path):
        assert "is allowed to root only" in await call_as_nobody(system, *PULL)
        assert "a(uosssd) 0" in await call_as_nobody(system, "ListJobs")
        assert "a(ossss) 0" in await call_as_nobody(system, "ListImages", "s", "")
        assert 'uo 1 "/org/virtlayer1/job/1"' in await ask_as_root(system, *PULL)
        assert "a(uosssd) 1" in await call_as_nobody(system, "ListJobs")


async def test_the_name_is_roots_alone(system: Bus) -> None:
    command = as_nobody(
        [
            *("busctl", f"--address={system.address}", "call", "org.freedesktop.DBus"),
            *("/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName"),
            *("su", "org.virtlayer1", "4"),
        ]
    )
    refused = await asyncio.to_thread(lambda: system.run(*command, check=False))
    assert "Access denied" in refused


async def test_polkit_rule_allows_pull_and_cancel_of_own_job(system: Bus, tmp_path: Path) -> None:
    rules = rule("YES", "org.virtlayer1.pull") + rule("NO", "org.virtlayer1.cancel-others")
    async with polkitd(system, rules), hanging(system, tmp_path) as (daemon, source):
        pull = ("Pull", "ssa{sv}", source, "default-pool", "0")
        assert "/job/1" in await call_as_nobody(system, *pull)
        assert "/job/2" in await ask_as_root(system, *pull)
        properties = await daemon.ask(
            "GetAll", "s", JOB, path="/org/virtlayer1/job/1", interface=PROPERTIES
        )
        assert properties["StartedBy"].value == NOBODY.pw_uid
        denied = await call_as_nobody(system, "Cancel", path="/org/virtlayer1/job/2")
        assert "polkit does not allow org.virtlayer1.cancel-others for you" in denied
        assert await call_as_nobody(system, "Cancel", path="/org/virtlayer1/job/1") == ""
        await ask_as_root(system, "Cancel", path="/org/virtlayer1/job/2")
        states = [job[3] for job in await daemon.ask("ListJobs")]
        assert states == ["cancelled", "cancelled"]


async def test_polkit_rule_denies_user(system: Bus, tmp_path: Path) -> None:
    async with polkitd(system, rule("NO")), virtlayerd(system, tmp_path):
        assert "does not allow org.virtlayer1.pull for you" in await call_as_nobody(system, *PULL)
        inspect = await call_as_nobody(system, "Inspect", "sa{sv}", SOURCE, "0")
        assert "does not allow org.virtlayer1.inspect for you" in inspect
        assert "a(uosssd) 0" in await call_as_nobody(system, "ListJobs")
        assert "/job/1" in await ask_as_root(system, *PULL)


@pytest.mark.parametrize("interactive", [False, True])
async def test_required_authentication_is_reported(
    system: Bus, tmp_path: Path, interactive: bool
) -> None:
    """By the shipped defaults; and there is no agent that could ask."""
    async with polkitd(system, ""), virtlayerd(system, tmp_path):
        answer = await call_as_nobody(system, *PULL, interactive=interactive)
        assert "does not allow org.virtlayer1.pull" in answer
        assert "a(uosssd) 0" in await call_as_nobody(system, "ListJobs")


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (("Inspect", "sa{sv}", "oci:/root/secret", "0"), "source-fd"),
        (("Pull", "ssa{sv}", "docker-archive:/root/secret", "nowhere", "0"), "source-fd"),
        (("Pull", "ssa{sv}", SOURCE, "nowhere", "1", "authfile", "s", "/root/auth"), "auth-fd"),
        (("Inspect", "sa{sv}", SOURCE, "1", "cert-dir", "s", "/root/certs"), "cert-fds"),
    ],
)
async def test_path_alone_is_refused_on_the_system_bus(
    system: Bus, tmp_path: Path, call: tuple[str, ...], instead: str
) -> None:
    """Whoever calls: the service has the rights of its own user, not of the caller."""
    async with polkitd(system, rule("YES")), virtlayerd(system, tmp_path):
        for answer in (await call_as_nobody(system, *call), await refused_to_root(system, *call)):
            assert f'pass the option "{instead}"' in answer
        assert "a(uosssd) 0" in await call_as_nobody(system, "ListJobs")


async def refused_to_root(bus: Bus, member: str, *arguments: str) -> str:
    call = ("call", "org.virtlayer1", "/org/virtlayer1", "org.virtlayer1.Manager", member)
    command = map(str, as_root("busctl", f"--address={bus.address}", *call, *arguments))
    return await asyncio.to_thread(lambda: bus.run(*command, check=False))


@pytest.mark.root
async def test_private_image_is_sent_by_the_command(system: Bus) -> None:
    """The service never has the caller's rights; the command reads the files."""
    content = image([layer(file("x"))])
    with open_directory() as place:
        layout = write_layout(place / "layout", {"1": content})
        for path in (layout, *layout.rglob("*")):
            shutil.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        layout.chmod(0o700)
        inspect = ("--json", "inspect", f"oci:{layout}:1")
        async with polkitd(system, rule("YES")), virtlayerd(system, place):
            ended = await virtlayer_as(NOBODY.pw_uid, system, *inspect)
            assert json.loads(ended.stdout)["digest"] == content.digest, ended.stderr
            # It says what it cannot read itself.
            layout.chmod(0)
            ended = await virtlayer_as(NOBODY.pw_uid, system, *inspect)
            assert ended.status == 4
            assert f"Cannot read {layout}/index.json: Permission denied" in ended.stderr


@pytest.mark.root
async def test_pull_of_a_local_image_has_its_action(system: Bus) -> None:
    with open_directory() as place:
        layout = write_layout(place / "layout", {"1": image([layer(file("x"))])})
        pull = ("pull", f"oci:{layout}:1", "nowhere")
        rules = rule("NO", "org.virtlayer1.pull-local") + rule("YES")
        async with polkitd(system, rules), virtlayerd(system, place):
            ended = await virtlayer_as(NOBODY.pw_uid, system, *pull)
            assert "org.virtlayer1.pull-local" in ended.stderr


async def virtlayer_as(uid: int, bus: Bus, *arguments: str) -> Ended:
    """Run the command as another user, on a system bus."""
    command = as_user(uid, COMMAND, *arguments)
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], "DBUS_SYSTEM_BUS_ADDRESS": bus.address},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())


@pytest.mark.parametrize(
    ("action", "call"),
    [
        ("create-volume", ("CreateVolume", "sssa{sv}", "nowhere", "image", "volume", "0")),
        ("create-domain", ("CreateDomain", "sssa{sv}", "nowhere", "image", "machine", "0")),
        ("pull", ("CreateDomain", "sssa{sv}", "nowhere", SOURCE, "machine", "0")),
        ("manage-domain", ("StartDomain", "sa{sv}", "machine", "0")),
        ("manage-domain", ("StopDomain", "sa{sv}", "machine", "0")),
        ("remove-domain", ("RemoveDomain", "sa{sv}", "machine", "0")),
        ("console", ("OpenStreams", "sa{sv}", "machine", "0")),
        ("console", ("OpenConsole", "s", "machine")),
        ("remove", ("RemoveImage", "ssa{sv}", "nowhere", "image", "0")),
        ("prune", ("Prune", "sa{sv}", "nowhere", "0")),
        ("rescan", ("Rescan", "sa{sv}", "nowhere", "0")),
        ("populate", ("Populate", "a{sv}", "0")),
    ],
)
async def test_every_method_that_changes_something_has_its_action(
    system: Bus, tmp_path: Path, action: str, call: tuple[str, ...]
) -> None:
    rules = rule("NO", f"org.virtlayer1.{action}") + rule("YES")
    async with polkitd(system, rules), virtlayerd(system, tmp_path):
        denied = await call_as_nobody(system, *call)
        assert f"does not allow org.virtlayer1.{action} for you" in denied
        assert "a(uosssd) 0" in await call_as_nobody(system, "ListJobs")


def test_the_policy_has_the_actions_that_are_asked_for() -> None:
    policy = ElementTree.parse(POLICIES / "org.virtlayer1.policy")  # noqa: S314 -- our own file
    assert sorted(each.attrib["id"] for each in policy.iter("action")) == sorted(Action)
    defaults = {
        action.attrib["id"]: tuple(one.text for each in action.iter("defaults") for one in each)
        for action in policy.iter("action")
    }
    # Nobody is asked for a password because of it.
    assert defaults.pop(Action.READ_DETAILS) == ("no", "no", "no")
    # What is kept is good for any image and pool.
    kept = {Action.INSPECT, Action.POPULATE}
    for action, default in defaults.items():
        active = "auth_admin_keep" if action in kept else "auth_admin"
        assert default == ("auth_admin", "auth_admin", active), action


def test_every_action_has_texts_and_allows_details_from_service() -> None:
    policy = ElementTree.parse(POLICIES / "org.virtlayer1.policy")  # noqa: S314 -- our own file
    for text in ("message", "description"):
        texts = [each.text for each in policy.iter(text)]
        assert len({*texts}) == len(texts) == len(Action)
    owners = [(each.attrib["key"], each.text) for each in policy.iter("annotate")]
    assert owners == [("org.freedesktop.policykit.owner", "unix-user:virtlayer")] * len(Action)


class SlowAgent(Interface):
    """An authentication agent that never answers."""

    interface = "org.freedesktop.PolicyKit1.AuthenticationAgent"

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.withdrawn = asyncio.Event()

    @method(
        "BeginAuthentication",
        takes={
            "action_id": "s",
            "message": "s",
            "icon_name": "s",
            "details": "a{ss}",
            "cookie": "s",
            "identities": "a(sa{sv})",
        },
    )
    async def begin(self, _call: Call, action: str, message: str, *_rest: object) -> None:
        self.action, self.message = action, message
        self.asked.set()
        await self.withdrawn.wait()

    @method("CancelAuthentication", takes={"cookie": "s"})
    async def cancel(self, _call: Call, _cookie: str) -> None:
        self.withdrawn.set()


# polkit accepts the agent of another user from root only.
@pytest.mark.root
async def test_prompt_delays_no_other_caller(system: Bus, tmp_path: Path) -> None:
    async def everyone(_call: Call) -> None:
        """Polkit may call the agent."""

    async with (
        polkitd(system, ""),
        virtlayerd(system, tmp_path),
        await Connection.opened(session=False, address=system.address) as connection,
    ):
        agent = SlowAgent()
        exporter = Exporter(connection, "/", everyone)
        exporter.export("/agent", agent)
        exporter.listen()
        words = " ".join(f"'{word}'" for word in PULL)
        script = (
            f"read line; exec busctl --address={system.address} "
            "--allow-interactive-authorization=yes "
            f"call org.virtlayer1 /org/virtlayer1 org.virtlayer1.Manager {words}"
        )
        process = await asyncio.create_subprocess_exec(
            *as_nobody(["sh", "-c", script]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        subject = {
            "pid": Variant("u", process.pid),
            "start-time": Variant("t", int(stat[19])),
            "uid": Variant("i", NOBODY.pw_uid),
        }
        await connection.ask(
            "org.freedesktop.PolicyKit1",
            "/org/freedesktop/PolicyKit1/Authority",
            "org.freedesktop.PolicyKit1.Authority",
            "RegisterAuthenticationAgent",
            "(sa{sv})ss",
            [["unix-process", subject], "C", "/agent"],
        )
        assert process.stdin is not None
        process.stdin.write(b"\n")
        async with asyncio.timeout(PATIENCE):
            await agent.asked.wait()
        assert agent.action == "org.virtlayer1.pull"
        assert "docker://x.test/y" in agent.message
        assert "a(uosssd) 0" in await call_as_nobody(system, "ListJobs")
        assert "/job/1" in await ask_as_root(system, *PULL)
        process.kill()
        await process.wait()
        agent.withdrawn.set()
        await exporter.finish(5)


@pytest.mark.root
async def test_hanging_polkit_delays_only_calls_that_need_it_and_for_a_limited_time(
    system: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        polkitd(system, rule("YES")) as pid,
        await Connection.opened(session=False, address=system.address) as service,
        user(system, "nobody") as nobody,
    ):
        authority = SystemAuthority(service, Callers(service))
        call = Call(Message(path="/", member="Pull", sender=str(nobody.connection.unique_name)))
        await authority.authorize(call, Action.PULL, {})
        stop(pid)
        # Not before: polkitd can take longer for an answer where a machine is busy.
        monkeypatch.setattr("virtlayer.service.bus.authority._ANSWER_SECONDS", 0.2)
        try:
            with pytest.raises(NotAuthorized, match="polkit is unavailable"):
                await authority.authorize(call, Action.PULL, {})
            assert not await authority.allows(call, Action.REMOVE, {})
            viewer = await authority.viewer(call)
            assert await viewer.sees({NOBODY.pw_uid})
            assert not await viewer.sees({0})
        finally:
            monkeypatch.undo()
            os.kill(pid, signal.SIGCONT)
        await authority.authorize(call, Action.PULL, {})


@contextlib.asynccontextmanager
async def hanging(bus: Bus, directory: Path) -> AsyncIterator[tuple[Daemon, str]]:
    """A daemon, and an image at a registry that never answers."""
    connections: list[asyncio.StreamWriter] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with virtlayerd(bus, directory) as daemon:
        yield daemon, f"docker://127.0.0.1:{port}/x"
    server.close()
    for writer in connections:
        writer.close()
