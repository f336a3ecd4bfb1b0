# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines, from the call to their first line, and what libvirt alone takes for the same XML."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.support.libvirt_host import LibvirtHost

from bench.commands import run, stopwatch
from bench.inputs import Image
from bench.ours import Installation, Machine
from bench.result import Finished
from virtlayer.cancellation import meanwhile
from virtlayer.client.bus.answers import StartedJob
from virtlayer.client.bus.caller import Client
from virtlayer.client.terminal.receiving import received_records
from virtlayer.protocol.streams import RecordKind

_TIMES = 3
_DEFINITIONS = 15
_POOL = "bench-0"
_COMMAND = ["/bin/sh", "-c", "echo ready"]
_READY = b"ready\n"
_LOOK_SECONDS = 0.002
"""Between two looks at the output of a machine; little against its first line."""
_OPTIONS: dict[str, Any] = {"type": "qemu", "command": _COMMAND, "network": "none", "start": False}
KERNEL = "machine-kernel"
"""The image whose kernel boots all machines."""


class FirstLine:
    """From the call of CreateDomain to the first line of the machine's program.

    The parts have the same from StartDomain, as ``start``.

    Args:
        machine: Where it runs.
        kernel: The image with a kernel.
    """

    def __init__(self, machine: Machine, kernel: Image) -> None:
        self._machine = machine
        self._kernel = kernel

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Make machines."""
        with _prepared(self._machine, self._kernel, image, directory) as place:
            runs = [place.asked(_first_line, name=f"m-{number}") for number in range(_TIMES)]
            whole, start = zip(*runs, strict=True)
            yield _finished(whole, start=statistics.median(start))


class FirstLineOfVirsh:
    """``virsh create`` of the XML that virtlayer has defined, until the first line.

    The parts have ``virsh start`` of the same, as ``start``.

    Args:
        machine: Where it runs.
        kernel: The image with a kernel.
    """

    title = "virsh create of the same XML"

    def __init__(self, machine: Machine, kernel: Image) -> None:
        self._machine = machine
        self._kernel = kernel

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Start the machine again and again."""
        with _prepared(self._machine, self._kernel, image, directory) as place:
            place.asked(_defined, name="m")
            virsh = partial(_virsh, place.host)
            xml = directory / "m.xml"
            xml.write_text(virsh("dumpxml", "--inactive", "--security-info", "m"))
            # libvirtd has a /var of its own.
            output = place.host.directory / "private" / _output(xml).relative_to("/")
            starts = [_until_ready(place.host, output, "start", "m") for _ in range(_TIMES)]
            virsh("undefine", "m")
            creations = [_until_ready(place.host, output, "create", xml) for _ in range(_TIMES)]
            yield _finished(creations, start=statistics.median(starts))


class NotStarted:
    """CreateDomain with ``start`` false; the time is the median of several."""

    title = "CreateDomain without start"

    def __init__(self, machine: Machine, kernel: Image) -> None:
        self._machine = machine
        self._kernel = kernel

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Make machines."""
        with _prepared(self._machine, self._kernel, image, directory) as place:
            names = [f"m-{number}" for number in range(_DEFINITIONS)]
            yield _finished([place.asked(_defined, name=name) for name in names])


class VolumeAndDefine:
    """CreateVolume, and ``virsh define`` of a machine's XML with that volume."""

    title = "CreateVolume and virsh define"

    def __init__(self, machine: Machine, kernel: Image) -> None:
        self._machine = machine
        self._kernel = kernel

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Make volumes and domains."""
        with _prepared(self._machine, self._kernel, image, directory) as place:
            place.asked(_defined, name="m")
            text = _virsh(place.host, "dumpxml", "--inactive", "--security-info", "m")
            times = []
            for number in range(_DEFINITIONS):
                xml = directory / f"{number}.xml"
                xml.write_text(_renamed(text, f"o-{number}"))
                volume, _ = place.installation.create_volume(image, f"o-{number}.qcow2")
                with stopwatch() as defining:
                    _virsh(place.host, "define", xml)
                times.append(volume.seconds + defining.seconds)
            yield _finished(times)


@dataclass(frozen=True, slots=True)
class _Place:
    host: LibvirtHost
    installation: Installation
    image: str

    def asked(self, what: Any, *, name: str) -> Any:
        """Do something with a machine of the image, over D-Bus."""
        return asyncio.run(self._asked(what, name))

    async def _asked(self, what: Any, name: str) -> Any:
        async with Client.connected(session=True) as client:
            return await what(client, self.image, name)


@contextlib.contextmanager
def _prepared(machine: Machine, kernel: Image, image: Image, directory: Path) -> Iterator[_Place]:
    """Pull the images, and run one machine: its boot files exist then, as for all later ones."""
    # QEMU runs as another user.
    directory.chmod(0o711)
    settings = f'[machine]\nkernel = "{KERNEL}:1"\n'
    with machine.installed(directory, settings=settings) as installation:
        installation.pull(kernel)
        installation.pull(image)
        name = image.repository.rpartition("/")[2]
        place = _Place(machine.host, installation, name)
        try:
            place.asked(_first_line, name="first")
            yield place
        finally:
            for domain in _virsh(machine.host, "list", "--name").split():
                _virsh(machine.host, "destroy", domain)
            for domain in _virsh(machine.host, "list", "--all", "--name").split():
                _virsh(machine.host, "undefine", domain)


async def _defined(client: Client, image: str, name: str) -> float:
    """Make a machine without starting it; return the seconds."""
    with stopwatch() as watch:
        await _job(client, "CreateDomain", "sssa{sv}", _POOL, image, name, options=_OPTIONS)
    return watch.seconds


async def _first_line(client: Client, image: str, name: str) -> tuple[float, float]:
    """Make and start a machine, and remove it; return the seconds to its first line."""
    with stopwatch() as whole:
        await _defined(client, image, name)
        stream = await client.open_streams(name, follow=True)
        reader, writer = await asyncio.open_unix_connection(sock=stream)
        with stopwatch() as start:
            starting = asyncio.create_task(_job(client, "StartDomain", "sa{sv}", name))
            # It ends, without a line, if the start fails.
            await _line(reader, starting)
    await starting
    writer.transport.abort()
    await _job(client, "RemoveDomain", "sa{sv}", name, options={"force": True})
    return whole.seconds, start.seconds


async def _line(reader: asyncio.StreamReader, starting: asyncio.Task[None]) -> None:
    """Wait for the first line of a machine, or until it cannot be started."""

    async def read() -> None:
        async with contextlib.aclosing(received_records(reader)) as records:
            async for record in records:
                if record.kind is RecordKind.STDOUT:
                    return

    async with meanwhile(read()) as reading:
        await asyncio.wait((reading, starting), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        await reading


async def _job(client: Client, member: str, signature: str, *arguments: str, **more: Any) -> None:
    job: StartedJob = await client.start(member, signature, *arguments, **more)
    (await client.wait(job, lambda _: None)).raise_for_failure()


def _until_ready(host: LibvirtHost, output: Path, *start: str | Path) -> float:
    """Start a machine with virsh; return the seconds until its first line, and wait for its end."""
    before = output.stat().st_size if output.exists() else 0
    with stopwatch() as watch:
        _virsh(host, *start)
        _wait_for(output, before)
    while _virsh(host, "list", "--name").strip():
        time.sleep(_LOOK_SECONDS)
    return watch.seconds


def _wait_for(output: Path, before: int) -> None:
    with output.open("rb") as file:
        while True:
            file.seek(before)
            if _READY in file.read():
                return
            # The processors are the machine's.
            time.sleep(_LOOK_SECONDS)


def _output(xml: Path) -> Path:
    """Return the file of the output records of a machine."""
    for channel in ElementTree.parse(xml).iter("channel"):  # noqa: S314 -- of our libvirtd
        source = channel.find("source")
        if channel.get("type") == "file" and source is not None:
            return Path(source.get("path", ""))
    raise SystemExit("The machine has no file for its output.")


def _renamed(xml: str, name: str) -> str:
    """Return the XML for another machine with a volume of its own."""
    root = ElementTree.fromstring(xml)  # noqa: S314 -- of our libvirtd
    for tag in ("name", "uuid"):
        element = root.find(tag)
        assert element is not None, "every domain has both"
        if tag == "name":
            element.text = name
        else:
            root.remove(element)
    return ElementTree.tostring(root, encoding="unicode").replace("/m.qcow2", f"/{name}.qcow2")


def _virsh(host: LibvirtHost, *arguments: str | Path) -> str:
    return run("virsh", "--quiet", "--connect", host.uri, *arguments)


def _finished(seconds: Any, **parts: float) -> Finished:
    return Finished(statistics.median(seconds), 0, None, parts)
