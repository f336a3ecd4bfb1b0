# SPDX-License-Identifier: LGPL-2.1-or-later
"""A virtlayerd that follows a script, for states that the real one cannot reach at a given time.

::

    async with stand_in(bus.address, script) as service:
        ... run the virtlayer command ...
        assert service.options == {...}

The script is a coroutine function; it gets the job before ``Pull`` has replied, and moves it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from dbus_next.signature import Variant

from virtlayer.dbus import names
from virtlayer.dbus.connection import Connection
from virtlayer.dbus.values import variants
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.exporter import Exporter
from virtlayer.service.bus.members import Emits, Interface, dbus_property, method, signal

RESULT = {
    "digest": ("s", "sha256:" + "d" * 64),
    "name": ("s", "demo:1"),
    "volume": ("s", "layer-1.qcow2"),
    "path": ("s", "/pool/layer-1.qcow2"),
    "volumes": ("as", ["layer-0.qcow2", "layer-1.qcow2"]),
    "layers-built": ("u", 2),
    "layers-reused": ("u", 0),
    "bytes-downloaded": ("t", 4096),
}
USAGE = {
    "capacity": ("t", 8192),
    "available": ("t", 4096),
    "layers": ("u", 2),
    "layers-bytes": ("t", 3072),
    "shared-bytes": ("t", 1024),
    "volumes": ("u", 0),
    "volumes-bytes": ("t", 0),
    "boot-volumes": ("u", 0),
    "boot-volumes-bytes": ("t", 0),
    "prunable-layers": ("u", 0),
    "prunable-bytes": ("t", 0),
    "images": ("a(stt)", [("demo:1", 2048, 1024)]),
}


class ScriptedJob(Interface):
    """A job that does what a script says."""

    interface = names.JOB

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = asyncio.Event()
        self.awaited = asyncio.Event()
        """Set when a client waits for the job: it has asked for the signals before."""
        self._over = asyncio.Event()
        self._progress: tuple[float, str, int, int] = (0.0, "", 0, 0)
        self._layers: list[tuple[str, int, int, int]] = []
        self._state = "running"
        self._error = self._message = ""
        self._result: dict[str, Variant] = {}

    @dbus_property("State", "s")
    def state(self) -> str:
        return self._state

    @dbus_property("Stage", "s")
    def stage(self) -> str:
        return self._progress[1]

    @dbus_property("Progress", "d", emits=Emits.NOTHING)
    def progress(self) -> float:
        return self._progress[0]

    @dbus_property("BytesDone", "t", emits=Emits.NOTHING)
    def bytes_done(self) -> int:
        return self._progress[2]

    @dbus_property("BytesTotal", "t", emits=Emits.NOTHING)
    def bytes_total(self) -> int:
        return self._progress[3]

    @dbus_property("Layers", "a(sttt)", emits=Emits.NOTHING)
    def layers(self) -> list[tuple[str, int, int, int]]:
        return self._layers

    @dbus_property("Error", "s")
    def error(self) -> str:
        return self._error

    @dbus_property("Message", "s")
    def message(self) -> str:
        return self._message

    @dbus_property("Result", "a{sv}")
    def result(self) -> dict[str, Variant]:
        return self._result

    @signal("ProgressChanged", progress="d", stage="s", done="t", total="t")
    def progress_changed(self, progress: float, stage: str, done: int, total: int) -> None:
        """The progress of the job."""

    @signal("Finished", result="s", error="s", message="s")
    def finished(self, result: str, error: str, message: str) -> None:
        """The job has ended."""

    @method("Wait", gives={"state": "s", "error": "s", "message": "s", "result": "a{sv}"})
    async def wait(self, _call: Call) -> tuple[str, str, str, dict[str, Variant]]:
        self.awaited.set()
        await self._over.wait()
        return self._state, self._error, self._message, self._result

    @method("Cancel")
    async def cancel(self, _call: Call) -> None:
        self.cancelled.set()

    def get_on(
        self,
        progress: float,
        stage: str,
        done: int,
        total: int,
        layers: Sequence[tuple[str, int, int, int]] = (),
    ) -> None:
        """Set new values, and signal them."""
        self._progress = (progress, stage, done, total)
        self._layers = list(layers)
        self.progress_changed(*self._progress)

    def end(self, state: str, error: str = "", message: str = "") -> None:
        """End."""
        self._state, self._error, self._message = state, error, message
        if state == "done":
            self._result = variants(RESULT)
        self.announce("state", "error", "message", "result")
        self.finished(state, error, message)
        self._over.set()


type Script = Callable[[ScriptedJob], Awaitable[None]]


class Service(Interface):
    """The manager; it has one job, number 7, and records the arguments of Pull."""

    interface = names.MANAGER

    def __init__(self, connection: Connection, script: Script) -> None:
        super().__init__()
        self.connection = connection
        self.job = ScriptedJob()
        self.options: dict[str, object] = {}
        self.source = self.pool = ""
        self.authfile = b""
        self.script: asyncio.Future[None] | None = None
        self._run = script

    @method(
        "Pull",
        takes={"source": "s", "pool": "s", "options": "a{sv}"},
        gives={"id": "u", "job": "o"},
    )
    async def pull(
        self, call: Call, source: str, pool: str, options: Mapping[str, Variant]
    ) -> tuple[int, str]:
        self.source, self.pool = source, pool
        self.options = {key: value.value for key, value in options.items()}
        if "auth-fd" in options:
            with contextlib.ExitStack() as belongings:
                descriptor = call.take_descriptor(options["auth-fd"].value, belongings)
                with open(descriptor, "rb", closefd=False) as file:
                    self.authfile = file.read()
        self.script = asyncio.ensure_future(self._run(self.job))
        # What the script does at once comes before the reply.
        await asyncio.sleep(0)
        return 7, names.job_path(7)

    @method("Inspect", takes={"source": "s", "options": "a{sv}"}, gives={"image": "a{sv}"})
    async def inspect(
        self, _call: Call, source: str, _options: Mapping[str, Variant]
    ) -> dict[str, Variant]:
        return variants(
            {
                "reference": ("s", f"{source}\x1b]0;title\x07"),
                "digest": ("s", "sha256:" + "d" * 64),
                "image-id": ("s", "sha256:" + "c" * 64),
                "platforms": ("as", ["linux/amd64", "linux/arm64/v8"]),
                "os": ("s", "linux"),
                "architecture": ("s", "amd64"),
                "layers": ("a(sst)", [("sha256:" + "a" * 64, "sha256:" + "b" * 64, 2048)]),
                "size": ("t", 2048),
                "config": ("s", '{"os": "linux"}'),
            }
        )

    @method("ListImages", takes={"pool": "s"}, gives={"images": "a(ossss)"})
    async def list_images(self, _call: Call, pool: str) -> list[tuple[str, ...]]:
        path = names.image_path(1)
        return [(path, pool or "default", "demo:1", "docker://d/demo:1", "sha256:" + "e" * 64)]

    @method("DiskUsage", takes={"pool": "s"}, gives={"usage": "a{sv}"})
    async def disk_usage(self, _call: Call, _pool: str) -> dict[str, Variant]:
        return variants(USAGE)


class Image(Interface):
    """The one image, whose pool has an escape sequence in its name."""

    interface = names.IMAGE

    @dbus_property("Name", "s")
    def name(self) -> str:
        return "demo:1"

    @dbus_property("Pool", "s")
    def pool(self) -> str:
        return "\x1b[31mred"


@contextlib.asynccontextmanager
async def stand_in(address: str, script: Script) -> AsyncIterator[Service]:
    """Own the name of virtlayerd on a bus."""
    connection = await Connection.opened(session=True, address=address)
    try:
        service = Service(connection, script)
        exporter = Exporter(connection, names.ROOT, _admit)
        exporter.export(names.ROOT, service)
        exporter.export(names.job_path(7), service.job)
        exporter.export(names.image_path(1), Image())
        exporter.listen()
        assert await connection.own(names.SERVICE)
        yield service
        if service.script is not None:
            await service.script
        await exporter.finish(5)
    finally:
        await connection.close()


async def _admit(_call: Call) -> None:
    """Admit every caller."""
