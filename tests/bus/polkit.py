# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real polkitd on a private system bus, with rules of the test's own, and other users."""

import asyncio
import contextlib
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from tests.support.bus_daemon import Bus
from tests.support.privileges import as_root
from tests.support.waiting import PATIENCE

NOBODY = pwd.getpwnam("nobody")
POLICIES = Path(__file__).parent.parent.parent / "packaging" / "polkit"
_POLKITD = "/usr/lib/polkit-1/polkitd"
# In a mount namespace of its own, so that the machine's polkitd sees none of it.
_START = (
    'mount --bind "$1/actions" /usr/share/polkit-1/actions && '
    'mount --bind "$1/rules" /etc/polkit-1/rules.d && '
    'mount --bind "$1/empty" /usr/share/polkit-1/rules.d && '
    f"exec {_POLKITD} --no-debug"
)


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A temporary directory that every user may enter; pytest's are private."""
    with tempfile.TemporaryDirectory(prefix="virtlayer-bus-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@contextlib.asynccontextmanager
async def polkitd(bus: Bus, rules: str) -> AsyncIterator[int]:
    """Run polkitd with the shipped actions and these rules; it has ended afterwards.

    The context gives its process id, if root runs the tests.

    Args:
        bus: A system bus with polkit's own policy.
        rules: JavaScript, as in polkit(8).
    """
    with open_directory() as directory:
        for name in ("actions", "rules", "empty"):
            (directory / name).mkdir()
        shutil.copy(POLICIES / "org.virtlayer1.policy", directory / "actions")
        (directory / "rules" / "50-test.rules").write_text(rules)
        process = await asyncio.create_subprocess_exec(
            *as_root("unshare", "--mount", "env", f"DBUS_SYSTEM_BUS_ADDRESS={bus.address}"),
            *("sh", "-c", _START, "sh", directory),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                while "org.freedesktop.PolicyKit1" not in await asyncio.to_thread(
                    bus.busctl, "list", "--acquired"
                ):
                    assert process.returncode is None, "polkitd does not start"
                    await asyncio.sleep(0.02)
            yield process.pid
        finally:
            process.terminate()
            await process.wait()


def as_nobody(command: Sequence[str]) -> list[str]:
    """The command line that runs a program as a user other than root and the tests' user."""
    ids = (f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}")
    return [*map(str, as_root("setpriv", *ids, "--clear-groups")), *command]


async def call_as_nobody(
    bus: Bus, member: str, *arguments: str, path: str = "/org/virtlayer1", interactive: bool = False
) -> str:
    """Call a method of the service as an ordinary user; return what busctl prints."""
    interface = "org.virtlayer1.Job" if "/job/" in path else "org.virtlayer1.Manager"
    allow = "yes" if interactive else "no"
    command = as_nobody(
        [
            *("busctl", f"--address={bus.address}", f"--allow-interactive-authorization={allow}"),
            *("call", "org.virtlayer1", path, interface, member, *arguments),
        ]
    )
    return await asyncio.to_thread(lambda: bus.run(*command, check=False))
