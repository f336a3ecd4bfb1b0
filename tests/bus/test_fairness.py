# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many costly calls of one user do not delay the calls of another one."""

import asyncio
import os
import pwd
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.bus.daemon import UNKNOWN_POOL, virtlayerd
from tests.bus.polkit import open_directory, polkitd
from tests.bus.users import ROOT, User, user
from tests.support.bus_daemon import Bus, system_bus
from tests.support.records import digest, image_record, layer_name, remember
from tests.support.waiting import stop
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.records.values import ImageLayer
from virtlayer.settings import QuotaSettings

pytestmark = pytest.mark.root
BUS = "org.freedesktop.DBus"
PEER = "org.freedesktop.DBus.Peer"
ALLOW = "polkit.addRule(function (action) { return polkit.Result.YES; });\n"
# All calls together fit into the service's socket: it must have got the other user's call as well.
MANY_KEYS = {"ssh-authorized-keys": Variant("as", ["ssh-rsa AAAA"] * 500)}
OBJECTS = "org.freedesktop.DBus.ObjectManager"
NODES = "org.freedesktop.DBus.Introspectable"
COSTLY: Mapping[str, Callable[[User], Awaitable[Message]]] = {
    "objects": lambda who: who.call("GetManagedObjects", interface=OBJECTS),
    "nodes": lambda who: who.call("Introspect", path=f"{ROOT}/image", interface=NODES),
    "images": lambda who: who.call("ListImages", "s", ""),
    "options": lambda who: who.call(
        "CreateVolume", "sssa{sv}", "pool", "image", "volume", MANY_KEYS
    ),
}


@pytest.fixture
def system() -> Iterator[Bus]:
    with (
        open_directory() as directory,
        system_bus(directory, others=["org.freedesktop.PolicyKit1.conf"]) as running,
    ):
        yield running


async def fill(state: Path, owner: int) -> None:
    """Make a catalog with many images of a user."""
    layers = tuple(ImageLayer(digest(str(n)), layer_name(str(n)), n) for n in range(8))
    records = [
        image_record(name=f"image{n}:1", layers=layers, pulled_by=frozenset({owner}))
        for n in range(400)
    ]
    async with Catalog(state / "catalog.sqlite") as catalog:
        await remember(catalog, UNKNOWN_POOL, *records)


@pytest.mark.parametrize("what", COSTLY)
async def test_another_user_is_answered_before_all_costly_calls_are(
    system: Bus, tmp_path: Path, what: str
) -> None:
    await fill(tmp_path / "state", pwd.getpwnam("nobody").pw_uid)
    async with (
        polkitd(system, ALLOW),
        virtlayerd(system, tmp_path, missing_pools=[UNKNOWN_POOL]) as daemon,
        user(system, "nobody") as nobody,
        user(system, "games") as games,
    ):
        for one in (nobody, games):
            await one.ask("Ping", interface=PEER)
        # When the service goes on, all calls have been made.
        stop(daemon.process.pid)
        calls = [asyncio.ensure_future(COSTLY[what](nobody)) for _ in range(QuotaSettings().calls)]
        await asyncio.sleep(0)
        other = asyncio.ensure_future(games.call("Ping", interface=PEER))
        await asyncio.sleep(0)
        for one in (nobody, games):
            # The bus reads what a connection sends in its order.
            await one.connection.ask(BUS, "/org/freedesktop/DBus", BUS, "GetId")
        os.kill(daemon.process.pid, signal.SIGCONT)
        answer = await other
        answers = await asyncio.gather(*calls)
        # The service numbers its messages in the order in which it makes them.
        assert answer.serial < max(one.serial for one in answers)
        assert {one.error_name for one in answers} <= {
            None,
            "org.virtlayer1.Error.InvalidArgument",
        }
