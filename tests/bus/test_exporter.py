# SPDX-License-Identifier: LGPL-2.1-or-later
"""Objects, their standard interfaces, and the answers to every kind of call."""

import asyncio
import logging
from xml.etree import ElementTree as ET

import pytest
from dbus_next.message import Message

from tests.bus.service import IFACE, NAME, ROOT, Broken, Small, no_reply, pair
from tests.support.bus_daemon import Bus
from tests.support.waiting import PATIENCE
from virtlayer.service.bus.call import Call, StandardError
from virtlayer.service.bus.objects import ObjectTree
from virtlayer.service.bus.standard import Properties
from virtlayer.service.bus.visibility import SeesAll, Viewer, Visibility

pytestmark = pytest.mark.usefixtures("descriptors")

PROPERTIES = "org.freedesktop.DBus.Properties"
MANAGER = "org.freedesktop.DBus.ObjectManager"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PEER = "org.freedesktop.DBus.Peer"


@pytest.mark.parametrize(
    "wrong",
    [
        {"interface": "org.example.None"},
        {"member": "NoSuchMethod"},
        {"signature": "u", "body": [1]},
    ],
)
async def test_wrong_calls_get_the_errors_that_the_reference_gives(
    bus: Bus, wrong: dict[str, object]
) -> None:
    """dbus-daemon's own object is the reference implementation's."""
    right_here = {"member": "Echo", "signature": "s", "body": ["x"]}
    right_there = {
        "destination": "org.freedesktop.DBus",
        "path": "/org/freedesktop/DBus",
        "interface": "org.freedesktop.DBus",
        "member": "GetNameOwner",
        "signature": "s",
        "body": [NAME],
    }
    async with pair(bus) as both:
        here = await both.error(**(right_here | wrong))  # type: ignore[arg-type]
        there = await both.error(**(right_there | wrong))  # type: ignore[arg-type]
        assert here == there


async def test_unknown_paths_have_no_object(bus: Bus) -> None:
    async with pair(bus) as both:
        for path in ("/no/such/object", "/", f"{ROOT}/below"):
            error = await both.error("Echo", "s", ["x"], path=path)
            expected = "UnknownInterface" if path == "/" else "UnknownObject"
            assert error == f"org.freedesktop.DBus.Error.{expected}"


async def test_a_call_without_an_interface_finds_its_method(bus: Bus) -> None:
    async with pair(bus) as both:
        assert await both.value("Echo", "s", ["x"], interface=None) == "x"
        assert "Small" in await both.value("Introspect", interface=None)


async def test_own_errors_keep_their_names(bus: Bus) -> None:
    async with pair(bus) as both:
        reply = await both.call("Raise", "s", ["ours"])
        assert reply.error_name == "org.virtlayer1.Error.PoolNotFound"
        assert reply.body == [r'No pool "x\x00y".']


@pytest.mark.parametrize("what", ["defect", "group"])
async def test_internal_error_details_are_only_in_the_journal(
    bus: Bus, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair(bus) as both:
        reply = await both.call("Raise", "s", [what])
        assert reply.error_name == "org.virtlayer1.Error.Internal"
        assert "secret" not in reply.body[0]
        assert "Traceback" not in reply.body[0]
        assert "a secret detail" in caplog.text


async def test_a_result_of_the_wrong_type_is_answered(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair(bus) as both:
        with caplog.at_level(logging.CRITICAL):
            assert await both.error("WrongResult") == "org.virtlayer1.Error.Internal"


async def test_a_cancelled_method_is_answered(bus: Bus) -> None:
    async with pair(bus) as both:
        assert await both.error("Raise", "s", ["cancelled"]) == "org.virtlayer1.Error.Cancelled"
        waiting = asyncio.create_task(both.error("Sleep"))
        await both.root.entered.wait()
        assert both.exporter.calls == 1
        await both.exporter.finish(0)
        assert await waiting == "org.virtlayer1.Error.Cancelled"
        assert both.exporter.calls == 0


async def test_a_slow_call_holds_up_no_other(bus: Bus) -> None:
    async with pair(bus) as both:
        waiting = asyncio.create_task(both.error("Sleep"))
        await both.root.entered.wait()
        assert await both.value("Echo", "s", ["x"]) == "x"
        await both.exporter.finish(0)
        await waiting


async def test_large_answer_is_made_and_another_caller_answered_meanwhile(bus: Bus) -> None:
    async with pair(bus) as both:
        size = 8 * 1024 * 1024
        reply = asyncio.create_task(both.call("Many", "u", [size]))
        await both.root.entered.wait()
        assert await both.value("Echo", "s", ["x"]) == "x"
        text, told = (await reply).body
        assert (len(text), told) == (size, size)


async def test_large_answer_beyond_the_limit_of_a_bus_is_an_error(bus: Bus) -> None:
    async with pair(bus) as both:
        refused = await both.error("Many", "u", [33 * 1024 * 1024])
        assert refused == "org.freedesktop.DBus.Error.LimitsExceeded"
        assert await both.value("Echo", "s", ["x"]) == "x"


async def test_large_answer_without_a_caller_is_not_made(bus: Bus) -> None:
    async with pair(bus) as both:
        many = Message(destination=NAME, path=ROOT, interface=IFACE, member="Many")
        many.signature, many.body = "u", [33 * 1024 * 1024]
        both.client.send(no_reply(many))
        await both.root.entered.wait()
        assert await both.value("Echo", "s", ["x"]) == "x"
        assert both.exporter.calls == 0


async def test_costly_calls_without_a_caller_take_turns_as_others_do(bus: Bus) -> None:
    async with pair(bus) as both:
        for _ in range(16):
            costly = Message(destination=NAME, path=ROOT, interface=IFACE, member="Costly")
            both.client.send(no_reply(costly))
        assert await both.value("Costly") == "x"
        assert both.root.most_at_a_time == 1


async def test_pool_that_does_not_answer_holds_up_only_calls_about_itself(bus: Bus) -> None:
    async with pair(bus) as both:
        waiting = asyncio.create_task(both.error("OfPool", "s", ["hung"]))
        await both.root.entered.wait()
        async with asyncio.timeout(PATIENCE):
            assert await both.value("OfPool", "s", ["other"]) == "other"
            assert await both.value("GetManagedObjects", interface=MANAGER) == {}
        await both.exporter.finish(0)
        await waiting


async def test_caller_that_is_not_admitted_is_not_served(bus: Bus) -> None:
    async with pair(bus, closed_to_all=True) as both:
        denied = "org.virtlayer1.Error.NotAuthorized"
        assert await both.error("Echo", "s", ["x"]) == denied
        assert await both.error("GetAll", "s", [IFACE], interface=PROPERTIES) == denied


async def test_properties_are_read_and_not_set(bus: Bus) -> None:
    errors = "org.freedesktop.DBus.Error."
    async with pair(bus) as both:

        async def error(member: str, *names: str) -> str:
            signature = {"Get": "ss", "GetAll": "s", "Set": "ssv"}[member]
            return await both.error(member, signature, list(names), interface=PROPERTIES)

        everything = await both.value("GetAll", "s", [IFACE], interface=PROPERTIES)
        assert {key: one.value for key, one in everything.items()} == {
            "Number": 0,
            "Always": "the same",
            "Quiet": 7,
        }
        assert await both.value("GetAll", "s", [""], interface=PROPERTIES) == everything
        value = await both.value("Get", "ss", [IFACE, "Always"], interface=PROPERTIES)
        assert (value.signature, value.value) == ("s", "the same")
        value = await both.value("Get", "ss", ["", "Quiet"], interface=PROPERTIES)
        assert (value.signature, value.value) == ("t", 7)
        assert await both.value("GetAll", "s", [PEER], interface=PROPERTIES) == {}
        assert await error("Get", IFACE, "Nothing") == errors + "UnknownProperty"
        assert await error("Get", "org.example.None", "Number") == errors + "UnknownInterface"
        assert await error("GetAll", "org.example.None") == errors + "UnknownInterface"
        refused = await asyncio.to_thread(
            bus.busctl, "set-property", NAME, ROOT, IFACE, "Number", "u", "5", check=False
        )
        assert "read-only" in refused


async def test_changes_are_announced_with_their_values(bus: Bus) -> None:
    async with pair(bus) as both:
        await both.watch()
        both.root.number = 5
        both.root.announce("current", "quiet")
        told = await both.signal("PropertiesChanged")
        assert (told.path, told.interface) == (ROOT, PROPERTIES)
        name, changed, invalidated = told.body
        assert name == IFACE
        assert {key: one.value for key, one in changed.items()} == {"Number": 5}
        assert invalidated == []


async def test_one_bad_getter_hides_only_itself(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    async with pair(bus) as both:
        both.exporter.export(f"{ROOT}/broken", Broken())
        objects = await both.value("GetManagedObjects", interface=MANAGER)
        assert set(objects[f"{ROOT}/broken"]["org.example.Broken"]) == {"Good"}
        where = {"interface": PROPERTIES, "path": f"{ROOT}/broken"}
        body = ["org.example.Broken", "Bad"]
        assert await both.error("Get", "ss", body, **where) == "org.virtlayer1.Error.Internal"
        assert "a secret detail" in caplog.text


async def test_a_hundred_objects_come_and_go(bus: Bus) -> None:
    async with pair(bus) as both:
        await both.watch()
        for number in range(100):
            both.exporter.export(f"{ROOT}/thing/{number}", Small(number))
        objects = await both.value("GetManagedObjects", interface=MANAGER)
        assert set(objects) == {f"{ROOT}/thing/{number}" for number in range(100)}
        assert objects[f"{ROOT}/thing/42"][IFACE]["Number"].value == 42
        for number in range(100):
            added = await both.signal("InterfacesAdded")
            assert (added.path, added.interface) == (ROOT, MANAGER)
            assert added.body[0] == f"{ROOT}/thing/{number}"
            assert added.body[1][IFACE]["Number"].value == number
        for number in range(100):
            both.exporter.unexport(f"{ROOT}/thing/{number}")
        for number in range(100):
            removed = await both.signal("InterfacesRemoved")
            assert (removed.path, removed.interface) == (ROOT, MANAGER)
            assert removed.body == [f"{ROOT}/thing/{number}", [IFACE]]
        assert await both.value("GetManagedObjects", interface=MANAGER) == {}
        gone = await both.error("Echo", "s", ["x"], path=f"{ROOT}/thing/1")
        assert gone == "org.freedesktop.DBus.Error.UnknownObject"


async def test_object_that_is_removed_while_its_properties_are_read_is_unknown() -> None:
    tree = ObjectTree()

    async def remove(_call: Call) -> Viewer:
        tree.remove(ROOT)
        return SeesAll()

    properties = Properties(tree, ROOT, Visibility(remove, signals_are_private=True))
    tree.add(ROOT, {IFACE: Small(), PROPERTIES: properties})
    call = Call(Message(path=ROOT, interface=PROPERTIES, member="GetAll"))
    with pytest.raises(StandardError, match=rf"^No object {ROOT}\.$") as failed:
        await properties.get_all(call, IFACE)
    # The command takes this error for an object that was removed after it was listed.
    assert failed.value.name == "org.freedesktop.DBus.Error.UnknownObject"


async def test_removed_object_sends_no_signals(bus: Bus) -> None:
    async with pair(bus) as both:
        await both.watch()
        thing = Small(1)
        both.exporter.export(f"{ROOT}/thing", thing)
        both.exporter.unexport(f"{ROOT}/thing")
        thing.happened(1, "late")
        thing.announce("current")
        both.root.happened(2, "in time")
        assert (await both.signal("Happened")).body[0] == 2


async def test_introspection_shows_the_node_and_its_direct_children(bus: Bus) -> None:
    async with pair(bus) as both:
        both.exporter.export(f"{ROOT}/thing/1", Small())
        both.exporter.export(f"{ROOT}/thing/10", Small())
        both.exporter.export(f"{ROOT}/thingamajig", Small())

        async def children(path: str) -> list[str]:
            xml = await both.value("Introspect", path=path, interface=INTROSPECTABLE)
            return [node.get("name", "") for node in ET.fromstring(xml).findall("node")]  # noqa: S314 -- ours

        assert await children("/") == ["org"]
        assert await children(ROOT) == ["thing", "thingamajig"]
        assert await children(f"{ROOT}/thing") == ["1", "10"]
        assert await children(f"{ROOT}/thing/1") == []
        nowhere = await both.error("Introspect", path="/org/exam", interface=INTROSPECTABLE)
        assert nowhere == "org.freedesktop.DBus.Error.UnknownObject"


@pytest.mark.parametrize("path", [ROOT, "/", "/no/such/object"])
async def test_the_peer_interface_is_everywhere(bus: Bus, path: str) -> None:
    async with pair(bus) as both:
        await both.call("Ping", path=path, interface=PEER)
        machine = await both.value("GetMachineId", path=path, interface=PEER)
        assert len(machine) == 32


async def test_independent_clients_understand_it(bus: Bus) -> None:
    async with pair(bus):

        async def run(*command: str) -> str:
            return await asyncio.to_thread(bus.run, *command)

        gdbus = ("gdbus", "call", f"--address={bus.address}", f"--dest={NAME}")
        assert "('hé',)" in await run(
            *gdbus, f"--object-path={ROOT}", f"--method={IFACE}.Echo", "hé"
        )
        shown = await run(
            "gdbus", "introspect", f"--address={bus.address}", f"--dest={NAME}",
            f"--object-path={ROOT}",
        )  # fmt: skip
        assert "Happened(u number" in shown
        sent = await run(
            "dbus-send", f"--bus={bus.address}", "--print-reply", f"--dest={NAME}",
            ROOT, f"{IFACE}.Echo", "string:x",
        )  # fmt: skip
        assert 'string "x"' in sent
        tree = await asyncio.to_thread(bus.busctl, "tree", NAME)
        assert ROOT in tree
