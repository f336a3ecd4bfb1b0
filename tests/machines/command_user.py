# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user of the commands about machines, and a small image that boots with the kernel of Debian."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dbus_next.signature import Variant

from tests.support.bus_daemon import session_bus
from tests.support.images import directory, file, image, layer, symlink
from tests.support.job_watch import MANAGER, ROOT, Watch
from tests.support.kernel import debian_kernel
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import PoolUser, pool_user
from tests.support.registry import Registry
from tests.support.virtlayerd import virtlayerd
from virtlayer.sizes import MIB

_SETTINGS = "[storage]\nvirtual-size = 67108864\n"
BOX = image(
    [
        layer(
            *map(directory, ("bin", "dev", "proc", "sys", "run", "tmp", "etc")),
            file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755),
            *(symlink(f"bin/{name}", "busybox") for name in ("sh", "sleep")),
        )
    ],
    config={"config": {"Entrypoint": ["/bin/sh"]}},
)
SCRIPT = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
"""Ends with status 7 when the machine is stopped."""


@contextlib.contextmanager
def command_user(host: LibvirtHost, registry: Registry, place: Path) -> Iterator[PoolUser]:
    """A user with a service and a pool.

    Args:
        host: The libvirtd.
        registry: Where images come from.
        place: An empty directory.
    """
    (place / "bus").mkdir()
    with (
        session_bus(place / "bus") as bus,
        virtlayerd(host, bus, place, settings=_SETTINGS) as daemon,
        pool_user(daemon, registry, host) as user,
    ):
        yield user


async def made_box(user: PoolUser, watch: Watch, **options: Variant) -> dict[str, Any]:
    """Make the machine "box", which is not started; return the result of the job."""
    source = user.registry.store(BOX, "box:1")
    given = {
        "kernel": Variant("s", str(debian_kernel().image)),
        "command": Variant("as", ["-c", SCRIPT]),
        "environment": Variant("as", ["TOKEN=hunter2"]),
        "memory": Variant("t", 256 * MIB),
        "network": Variant("s", "none"),
        "tls-verify": Variant("b", False),
        "start": Variant("b", False),
    }
    create = ("CreateDomain", "sssa{sv}", "", source, "box", given | options)
    _number, path = await watch.ask(ROOT, MANAGER, *create)
    job = await watch.finished(path)
    assert job["State"] == "done", job
    result: dict[str, Any] = job["Result"]
    return result
