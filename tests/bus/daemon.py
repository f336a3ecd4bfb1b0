# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayerd`` as a process on a private bus, where no libvirtd is needed."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.support import logs
from tests.support.bus_daemon import Bus
from tests.support.privileges import ROOTS_SETTING, as_root
from tests.support.waiting import PATIENCE
from virtlayer.dbus.connection import BusError, Connection

PROGRAM = Path(sys.executable).parent / "virtlayerd"
SERVICE = "org.virtlayer1"
ROOT = "/org/virtlayer1"
MANAGER = "org.virtlayer1.Manager"
NO_LIBVIRT = "test:///default"
"""libvirt's own stand-in, in the daemon's process; its pools have no directories."""
UNKNOWN_POOL = "unknown-pool"
"""For ``missing_pools``: what is in it cannot be read, so what the catalog says of it counts."""
_POOL = """\
  <pool type='dir'>
    <name>{name}</name>
    <source/>
    <target><path>{path}</path></target>
  </pool>
"""

type Options = Mapping[str, Variant]


def environment(bus: Bus, directory: Path, **more: str) -> dict[str, str]:
    """An environment in which a daemon writes below this directory only."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(directory),
        "XDG_RUNTIME_DIR": str(directory / "run"),
        "XDG_STATE_HOME": str(directory / "state"),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "XDG_CONFIG_HOME": str(directory / "config"),
        "STATE_DIRECTORY": str(directory / "state"),
        "CACHE_DIRECTORY": str(directory / "cache"),
        "RUNTIME_DIRECTORY": str(directory / "run"),
        "DBUS_SESSION_BUS_ADDRESS" if bus.session else "DBUS_SYSTEM_BUS_ADDRESS": bus.address,
    } | more


def libvirt_with_pools(directory: Path, *missing: str) -> str:
    """The URI of libvirt's stand-in with the pool ``default-pool`` in a directory.

    Args:
        directory: Where its directory is.
        missing: Further pools, whose directories do not exist.
    """
    pool = directory / "pool"
    pool.mkdir(exist_ok=True)
    pools = {"default-pool": pool} | {name: directory / name for name in missing}
    described = (_POOL.format(name=name, path=path) for name, path in pools.items())
    node = directory / "node.xml"
    node.write_text(f"<node>\n{''.join(described)}</node>\n")
    return f"test://{node}"


class Daemon:
    """A running daemon, and a client's connection to it."""

    def __init__(self, process: asyncio.subprocess.Process, client: Connection, log: Path) -> None:
        self.process = process
        self.client = client
        self._log = log

    async def ask(
        self, member: str, signature: str = "", *body: object, path: str = ROOT, **where: str
    ) -> Any:
        """Call a method; return its one value, or all of them."""
        interface = where.get("interface", MANAGER)
        reply = await self.client.ask(SERVICE, path, interface, member, signature, body)
        return reply[0] if len(reply) == 1 else reply

    async def refused(self, member: str, signature: str = "", *body: object, **where: str) -> str:
        """Call a method that fails; return the last part of the error's name."""
        try:
            answer = await self.ask(member, signature, *body, **where)
        except BusError as error:
            return error.name.rpartition(".")[2]
        raise AssertionError(f"{member} answered {answer}")

    async def wait(self) -> tuple[int, str]:
        """Wait for its end; return its exit status and what it logged."""
        return await self.process.wait(), self._log.read_text()


@contextlib.asynccontextmanager
async def virtlayerd(
    bus: Bus,
    directory: Path,
    *arguments: str,
    settings: str = "",
    env: Mapping[str, str] | None = None,
    configuration: Path | None = None,
    wrapper: Sequence[str | Path] = (),
    missing_pools: Sequence[str] = (),
) -> AsyncIterator[Daemon]:
    """Run a daemon; it has ended afterwards.

    Args:
        bus: Where it serves.
        directory: Everything that it writes is below it.
        arguments: Further ones of its command line.
        settings: The content of its virtlayerd.toml.
        env: Further variables.
        configuration: A directory that the system's daemon sees as /etc/virtlayer.
        wrapper: A program that runs the daemon.
        missing_pools: Pools whose directories do not exist.
    """
    config = directory / "virtlayerd.toml"
    config.write_text(settings)
    variables = environment(bus, directory, **(env or {}))
    settings_of_env = [f"{name}={value}" for name, value in variables.items()]
    # The system's daemon is root's: on the private system bus as well.
    command: list[str | Path] = [*wrapper, "env", *settings_of_env, PROGRAM, "--session"]
    if not bus.session:
        wrapper = (*wrapper, *_seeing(configuration))
        command = as_root(*wrapper, "env", ROOTS_SETTING, *settings_of_env, PROGRAM)
    logs.follow("virtlayerd", directory, "log-*")
    with tempfile.NamedTemporaryFile(prefix="log-", dir=directory, delete=False) as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            "--connect",
            libvirt_with_pools(directory, *missing_pools),
            "--config",
            config,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=log,
        )
    try:
        async with await Connection.opened(session=bus.session, address=bus.address) as client:
            await until_owned(client)
            yield Daemon(process, client, Path(log.name))
    finally:
        if process.returncode is None:
            # Not SIGKILL, which sudo does not pass on.
            process.terminate()
        await process.wait()
        if not bus.session:
            # The user who runs the tests removes the files of root's daemon.
            command = as_root("chown", "--recursive", str(os.geteuid()), directory)
            subprocess.run(command, check=True)


def _seeing(configuration: Path | None) -> list[str | Path]:
    if configuration is None:
        return []
    layer = configuration.parent / "etc"
    layer.mkdir()
    configuration.rename(layer / "virtlayer")
    mount = 'mount -t overlay overlay -o "lowerdir=$0:/etc" /etc && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mount, layer]


async def has_owner(client: Connection) -> bool:
    """Whether a daemon has the name."""
    bus = "org.freedesktop.DBus"
    [owned] = await client.ask(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", "s", [SERVICE])
    return bool(owned)


async def until_owned(client: Connection, owned: bool = True) -> None:
    """Wait until a daemon has the name, or has given it up."""
    changed = asyncio.Event()

    def look(message: Message) -> None:
        if message.member == "NameOwnerChanged":
            changed.set()

    client.on_signal = look
    bus = "org.freedesktop.DBus"
    rule = f"type='signal',sender='{bus}',member='NameOwnerChanged',arg0='{SERVICE}'"
    await client.ask(bus, "/org/freedesktop/DBus", bus, "AddMatch", "s", [rule])
    while await has_owner(client) != owned:
        async with asyncio.timeout(PATIENCE):
            await changed.wait()
        changed.clear()
