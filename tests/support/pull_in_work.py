# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon in the middle of a pull: what it runs, what it leaves, and how fast it stops."""

import contextlib
import itertools
import random
import re
import time
from pathlib import Path

from tests.support.images import Content, file, image, layer
from tests.support.job_watch import JOB, Watch
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import names_in
from tests.support.virtlayerd import Daemon

_numbers = itertools.count(1)


def content_of(*sizes: int) -> Content:
    """An image with a layer of every one of these sizes, which do not compress."""
    seed = random.Random(next(_numbers))  # noqa: S311 -- no secret
    return image(
        [
            layer(file(f"file-{number}", seed.randbytes(size)), compression="none")
            for number, size in enumerate(sizes)
        ]
    )


def programs_of(daemon: Daemon) -> dict[str, int]:
    """The programs of the daemon and its keeper by their names."""
    found = {}
    for pid in daemon.programs:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            name = Path(words[0]).name
            found["worker" if "python" in name else name] = pid
    return found


def assert_clean(daemon: Daemon, host: LibvirtHost, pool: str) -> None:
    """No process, no unfinished volume or blob, no credentials; libvirt sees what is there."""
    if daemon.process.poll() is None:
        assert programs_of(daemon) == {}
    names = names_in(host.pool_directory(pool))
    assert [name for name in names if not re.fullmatch(r"layer-[0-9a-f]{64}\.qcow2", name)] == []
    assert host.volumes(pool) == names
    for place in ("cache", "run"):
        files = [path for path in (daemon.directory / place).rglob("*") if path.is_file()]
        assert [path for path in files if path.parent.name != "sha256"] == []


async def cancelled_within_a_second(watch: Watch, path: str) -> None:
    begun = time.monotonic()
    await watch.ask(path, JOB, "Cancel")
    # The one promise about time that the interface makes.
    assert time.monotonic() - begun < 1
    job = await watch.properties(path, JOB)
    assert (job["State"], job["Error"]) == ("cancelled", "org.virtlayer1.Error.Cancelled")
