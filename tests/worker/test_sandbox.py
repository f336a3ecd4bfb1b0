# SPDX-License-Identifier: LGPL-2.1-or-later
"""Restrictions of the layer worker, checked from outside and inside."""

import asyncio
import contextlib
import errno
import os
import pwd
import signal
import sys
from pathlib import Path

import pytest

from tests.support.images import file, layer
from tests.support.keeper import LocalPrograms
from tests.support.processes import has_ended
from tests.support.volumes import SIZE, apply_layer, build_volume
from tests.support.waiting import until
from virtlayer import programs
from virtlayer.errors import Internal, LayerTooLarge
from virtlayer.keeper.users import worker_identity
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings

_INSIDE = """
import ctypes, fcntl, os, signal, socket, subprocess, sys, termios, threading
from virtlayer.worker.sandbox.enter import Limits, enter_sandbox

parent, port = os.getppid(), int(sys.argv[1])
inet, unix = socket.socket(), socket.socket(socket.AF_UNIX)
near, far = socket.socketpair()
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
READ, WRITE, EXECUTE, PRIVATE_ANONYMOUS = 1, 2, 4, 0x22

def system(result, error=-1):
    if result == error:
        raise OSError(ctypes.get_errno(), "")
    return result

def new_memory(protection):
    return system(libc.mmap(None, 4096, protection, PRIVATE_ANONYMOUS, -1, 0), 2**64 - 1)

memory = new_memory(READ | WRITE)
enter_sandbox(Limits(memory=2**31, cpu_seconds=60))
attempts = {
    "open a file to read": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "open a file to write": lambda: os.open("/tmp/written", os.O_WRONLY | os.O_CREAT),
    "list a directory": lambda: os.listdir("/"),
    "remove a file": lambda: os.unlink("/tmp/nothing"),
    "connect by network": lambda: inet.connect(("127.0.0.1", port)),
    "connect by path": lambda: unix.connect("/run/dbus/system_bus_socket"),
    "make a socket": lambda: socket.socket(),
    "pass a descriptor": lambda: socket.send_fds(near, [b"x"], [0]),
    "fork": os.fork,
    "run a program": lambda: os.execv("/bin/true", ["true"]),
    "signal another process": lambda: os.kill(parent, 0),
    "change user": lambda: os.setuid(0),
    "raise a limit": lambda: __import__("resource").setrlimit(7, (64, 64)),
    "trace": lambda: os.pidfd_open(parent),
    "ask whether a file exists": lambda: os.stat("/etc/passwd"),
    "put input into a terminal": lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x"),
    "ask a device": lambda: fcntl.ioctl(0, termios.FIONREAD, bytes(4)),
    "map memory with new code": lambda: new_memory(READ | WRITE | EXECUTE),
    "make memory executable": lambda: system(libc.mprotect(memory, 4096, READ | EXECUTE)),
}
for name, attempt in attempts.items():
    try:
        print(name, "worked", attempt(), sep="\\t")
    except (OSError, ValueError) as error:
        print(name, getattr(error, "errno", None) or "refused", sep="\\t")
    except ImportError:
        print(name, "refused", sep="\\t")
thread = threading.Thread(target=lambda: print("threads still work", 0, sep="\\t"))
thread.start()
thread.join()
print("memory can still be mapped", 0 if new_memory(READ | WRITE) else 1, sep="\\t")
"""


async def test_nothing_can_be_reached_from_inside() -> None:
    async with contextlib.AsyncExitStack() as stack:
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        await stack.enter_async_context(server)
        port = server.sockets[0].getsockname()[1]
        output = await programs.run(
            [sys.executable, "-I", "-c", _INSIDE, str(port)], identity=worker_identity()
        )

    outcomes = dict(line.split("\t") for line in output.decode().splitlines())

    assert outcomes.pop("threads still work") == "0"
    assert outcomes.pop("memory can still be mapped") == "0"
    assert len(outcomes) == 19
    assert {
        name: outcome
        for name, outcome in outcomes.items()
        if outcome not in ("refused", str(errno.EPERM))
    } == {}


@pytest.mark.root
async def test_root_enters_no_sandbox() -> None:
    script = "from virtlayer.worker.sandbox.enter import *; enter_sandbox(Limits(2**31, 60))"
    with pytest.raises(programs.ProgramFailed, match="must not be started as root"):
        await programs.run([sys.executable, "-I", "-c", script])


def _status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, value in (line.split(":", 1) for line in lines)}


def _expected_uid() -> int:
    if os.geteuid() != 0:
        return os.geteuid()
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("virtlayer-worker").pw_uid
    return pwd.getpwnam("nobody").pw_uid


async def test_worker_has_no_privileges_and_nothing_but_its_socket(
    worker: LayerWorker, tmp_path: Path
) -> None:
    await build_volume(worker, tmp_path / "volume", [layer(file("a", b"1"))])

    process = Path(f"/proc/{worker.pid}")
    status = _status(worker.pid)
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]
    assert status["CapPrm"] == status["CapEff"] == status["CapInh"] == ["0" * 16]
    assert set(status["Uid"]) == {str(_expected_uid())}
    # Who is not root cannot leave groups; there root's worker would have none.
    assert [*map(int, status["Groups"])] == ([] if os.geteuid() == 0 else sorted(os.getgroups()))
    assert (process / "environ").read_bytes() == b""
    assert {path.name for path in (process / "fd").iterdir()} == {"0", "1", "2"}
    limits = (process / "limits").read_text()
    assert "Max file size             0 " in limits
    assert "Max core file size        0 " in limits


async def test_worker_dies_with_its_parent() -> None:
    script = (
        "import asyncio\n"
        "from virtlayer.keeper import programs\n"
        "from virtlayer.settings import LayerSettings\n"
        "from virtlayer.service.workers.layer import LayerWorker\n"
        "class Programs:\n"
        "    def running(self, request, descriptors):\n"
        "        return programs.running(request, descriptors, None)\n"
        "async def main():\n"
        "    async with LayerWorker.started(Programs(), LayerSettings()) as worker:\n"
        "        print(worker.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    async with programs.running(
        [sys.executable, "-I", "-c", script], stdout=asyncio.subprocess.PIPE
    ) as parent:
        pid = int(await parent.stdout.readline())
        await until(lambda: _status(pid)["Seccomp"] == ["2"])
        os.kill(parent.pid, signal.SIGKILL)
        await until(lambda: has_ended(pid))


async def test_killed_worker_is_one_clear_error(worker: LayerWorker, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.touch()
    os.truncate(volume, SIZE)
    os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(Internal, match=r"worker stopped .*SIGKILL"):
        await apply_layer(worker, volume, layer(file("a", b"1")), format_size=SIZE)


async def test_layer_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.touch()
    size = 1024 * 1024 * 1024
    os.truncate(volume, size)
    many = layer(*(file(f"d/{number:06}{'n' * 200}") for number in range(60_000)))

    async with LayerWorker.started(
        LocalPrograms(), LayerSettings(memory_limit=96 * 1024 * 1024)
    ) as worker:
        with pytest.raises(LayerTooLarge, match="more memory"):
            await apply_layer(worker, volume, many, format_size=size)
