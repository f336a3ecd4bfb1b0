# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where machines are made: a pool with their images, of which nothing but machines changes it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.libvirt_host import LibvirtHost

from bench.commands import run
from bench.inputs import Image
from bench.machines.calls import first_line, name_of, remove
from bench.ours import Installation, Machine
from bench.trees import WrongTree
from virtlayer.client.bus.caller import Client

KERNEL = "machine-kernel"
"""The image whose kernel boots all machines."""
_SETTLING_SECONDS = 5.0
"""For the files of a machine that is removed when it has stopped."""
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """A pool with the images, and the boot files that their machines share.

    Attributes:
        host: With libvirtd.
        installation: With virtlayerd.
    """

    host: LibvirtHost
    installation: Installation

    def asked[R](self, ask: Callable[[Client], Awaitable[R]]) -> R:
        """Do something over D-Bus."""
        return asyncio.run(_asked(ask))

    def virsh(self, *arguments: str | Path) -> str:
        """Run virsh; return what it prints."""
        return run(*self.virsh_command(*arguments))

    def virsh_command(self, *arguments: str | Path) -> tuple[str | Path, ...]:
        """Return the command line of virsh."""
        return ("virsh", "--quiet", "--connect", self.host.uri, *arguments)

    def inside(self, path: Path) -> Path:
        """Return where a file of libvirtd is, which has some directories of its own."""
        return self.host.directory / "private" / path.relative_to("/")

    @contextlib.contextmanager
    def nothing_left(self) -> Iterator[None]:
        """Check that no machine, volume, record or log is there afterwards that was not before.

        Raises:
            WrongTree: There is one.
        """
        before = self._things()
        yield
        deadline = time.monotonic() + _SETTLING_SECONDS
        while (left := self._things() - before) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        if left:
            raise WrongTree(f"a machine was removed, and this is left: {', '.join(sorted(left))}")

    def _things(self) -> set[str]:
        pools, logs = self.installation.pools.values(), self.inside(Path("/var/log/libvirt"))
        files = {str(file) for directory in (*pools, logs) for file in directory.rglob("*")}
        machines = self.virsh("list", "--all", "--name").split()
        return files | {f"machine {name}" for name in machines}


class AtPlace:
    """The beginning of a contestant.

    Args:
        place: Where it makes machines.
    """

    def __init__(self, place: Place) -> None:
        self._place = place


@contextlib.contextmanager
def prepared(machine: Machine, images: Sequence[Image], directory: Path) -> Iterator[Place]:
    """Pull the images, and run a machine of each: the boot files are there for all later ones.

    Args:
        machine: Where it runs.
        images: Of the machines.
        directory: An empty one.
    """
    # QEMU runs as another user.
    directory.chmod(0o711)
    settings = f'[machine]\nkernel = "{KERNEL}:1"\n'
    with machine.installed(directory, settings=settings) as installation:
        place = Place(machine.host, installation)
        for image in (machine.inputs.image(KERNEL), *images):
            installation.pull(image)
        try:
            for image in images:
                place.asked(partial(_first, image=image))
            yield place
        finally:
            for name in place.virsh("list", "--name").split():
                place.virsh("destroy", name)
            for name in place.virsh("list", "--all", "--name").split():
                place.virsh("undefine", name)


async def _asked[R](ask: Callable[[Client], Awaitable[R]]) -> R:
    async with Client.connected(session=True) as client:
        return await ask(client)


async def _first(client: Client, image: Image) -> None:
    name = f"first-{name_of(image).partition(':')[0]}"
    await first_line(client, image, name)
    await remove(client, name)
