# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines that really boot, made and controlled through virtlayerd.

::

    async with machine_user(host, tmp_path) as user:
        await user.pull(image([...]), "demo")
        await user.create("demo", "web", {"memory": Variant("t", 256 * MIB)})
        await user.tell("stop", "web")
"""

import asyncio
import contextlib
import itertools
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbus_next.constants import MessageType
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.support.bus_daemon import session_bus
from tests.support.command import COMMAND, Ended
from tests.support.images import Content, write_layout
from tests.support.job_watch import MANAGER, ROOT, SERVICE, Watch, watching
from tests.support.kernel import debian_kernel
from tests.support.libvirt_host import LibvirtHost
from tests.support.virtlayerd import Daemon, start_virtlayerd

PATIENCE = 300.0
"""Seconds after which a machine that does not do what is expected fails the test."""

_SETTINGS = "[storage]\nvirtual-size = {size}\n[service]\nidle-timeout = 0\n"
_numbers = itertools.count(1)


@dataclass(slots=True)
class MachineUser:
    """A user with a pool and a virtlayerd.

    Attributes:
        host: The libvirtd.
        daemon: The virtlayerd.
        watch: A connection to it.
        pool: The name of the pool.
    """

    host: LibvirtHost
    daemon: Daemon
    watch: Watch
    pool: str

    @property
    def files(self) -> set[str]:
        """The names of the files of the pool, without those that machines share."""
        shared = ("layer-", "kernel-", "initrd-", ".virtlayer")
        path = self.host.pool_directory(self.pool)
        return {one.name for one in path.iterdir() if not one.name.startswith(shared)}

    async def pull(self, content: Content, name: str, *options: str) -> None:
        """Write an image to a directory that the user can read, and pull it."""
        place = self.host.directory / f"layout-{next(_numbers)}"
        write_layout(place, {"1": content})
        await self.tell("pull", f"oci:{place}:1", self.pool, f"--name={name}", *options)

    async def create(
        self,
        image: str,
        name: str,
        options: Mapping[str, Variant],
        descriptors: Sequence[int] = (),
    ) -> dict[str, Any]:
        """Make a machine and start it; return the job's result.

        Args:
            image: The name of the image.
            name: The name of the machine.
            options: Those of CreateDomain.
            descriptors: What the options refer to.
        """
        job = await self._end(await self._begin(image, name, options, descriptors))
        assert job["State"] == "done", f"{job}\n{self.daemon.log}"
        result: dict[str, Any] = job["Result"]
        return result

    async def failed(self, image: str, name: str, options: Mapping[str, Variant]) -> dict[str, Any]:
        """Try to make a machine, which fails; return the properties of the job."""
        job = await self._end(await self._begin(image, name, options, ()))
        assert job["State"] == "failed", job
        return job

    async def _end(self, path: str) -> dict[str, Any]:
        while not self.watch.of(path, "Finished"):
            # A boot takes longer than the patience of the watch.
            with contextlib.suppress(TimeoutError):
                await self.watch.finished(path)
        return await self.watch.finished(path)

    async def _begin(
        self, image: str, name: str, options: Mapping[str, Variant], descriptors: Sequence[int]
    ) -> str:
        reply = await self.watch.connection.call(
            Message(
                destination=SERVICE,
                path=ROOT,
                interface=MANAGER,
                member="CreateDomain",
                signature="sssa{sv}",
                body=[self.pool, image, name, dict(options)],
                unix_fds=list(descriptors),
            )
        )
        assert reply is not None
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return str(reply.body[1])

    async def state(self, name: str) -> str:
        """The state of a machine."""
        return str((await self.machine(name))["state"])

    async def machine(self, name: str) -> dict[str, Any]:
        """What ``virtlayer ps`` says about a machine."""
        rows = json.loads(await self.tell("--json", "ps", "--all"))
        [row] = [row for row in rows if row["name"] == name]
        return dict(row)

    async def has_state(self, name: str, state: str) -> None:
        """Wait until a machine has a state."""
        async with asyncio.timeout(PATIENCE):
            while (found := await self.state(name)) != state:
                assert found != "paused", f"{name} was paused"
                await asyncio.sleep(0.2)

    async def tell(self, *arguments: str) -> str:
        """Run a command of virtlayer that works; return what it prints."""
        ended = await self.ended(*arguments)
        assert ended.status == 0, ended.stderr
        return ended.stdout

    async def ended(self, *arguments: str) -> Ended:
        """Run a command of virtlayer to its end."""
        command = self.host.as_owner(str(COMMAND), "--user", *arguments)
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self.daemon.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, output.decode(), errors.decode())


def host_kernel() -> Variant:
    """The option for the kernel of Debian."""
    return Variant("s", str(debian_kernel().image))


@contextlib.asynccontextmanager
async def machine_user(
    host: LibvirtHost,
    directory: Path,
    *,
    size: int = 64 << 20,
    start_pool: Callable[[str], object] | None = None,
) -> AsyncIterator[MachineUser]:
    """A user with a new pool; afterwards nothing of it is left.

    Args:
        host: The libvirtd.
        directory: For the files of virtlayerd.
        size: The virtual size of new chains, in bytes.
        start_pool: Defines and starts the pool of this name; by default, one of type dir.
    """
    pool = f"booted-{next(_numbers)}"
    (start_pool or host.start_pool)(pool)
    (directory / "bus").mkdir(parents=True)
    try:
        with session_bus(directory / "bus") as bus:
            settings = _SETTINGS.format(size=size)
            daemon = start_virtlayerd(host, bus, directory, settings=settings)
            user = None
            try:
                async with watching(bus.address, uid=host.owner) as watch:
                    user = MachineUser(host, daemon, watch, pool)
                    yield user
            finally:
                daemon = daemon if user is None else user.daemon
                daemon.process.terminate()
                daemon.process.wait()
    finally:
        for domain in host.virsh("list", "--all", "--name").split():
            for command in ("destroy", "undefine"):
                with contextlib.suppress(AssertionError):
                    host.virsh(command, domain)
        host.stop_pool(pool)


@dataclass(frozen=True, slots=True)
class SshKey:
    """A key of a user.

    Attributes:
        private: The file of the private key.
        public: The public key.
    """

    private: Path
    public: str

    async def run(self, port: int, command: str, *, user: str = "root") -> str:
        """Log in to a machine when it lets us, and run a command; return its output."""
        async with asyncio.timeout(PATIENCE):
            while True:
                ended, output, errors = await self._attempt(port, command, user)
                # 255 is the status of ssh's own failures.
                if ended != 255:
                    assert ended == 0, errors
                    return output
                await asyncio.sleep(0.5)

    async def _attempt(self, port: int, command: str, user: str) -> tuple[int, str, str]:
        options = {
            "IdentityFile": self.private,
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": self.private.with_suffix(f".{port}"),
            "ConnectTimeout": 60,
        }
        process = await asyncio.create_subprocess_exec(
            *("ssh", "-F", "none", "-p", str(port)),
            *(f"-o{name}={value}" for name, value in options.items()),
            *(f"{user}@127.0.0.1", command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()


def ssh_key(directory: Path) -> SshKey:
    """Make a new key in a directory."""
    private = directory / "key"
    command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", private)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return SshKey(private, private.with_suffix(".pub").read_text().strip())
