# SPDX-License-Identifier: LGPL-2.1-or-later
"""No secret of a call is seen by anybody else: not in /proc, the log, the bus, or a file."""

import base64
import contextlib
import json
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.support.bus_daemon import Bus, session_bus
from tests.support.images import directory, file, image, layer
from tests.support.job_watch import MANAGER, ROOT, SERVICE, watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.registry import Registry
from tests.support.virtlayerd import virtlayerd
from tests.support.waiting import until, wait_until
from virtlayer.dbus.connection import BusError
from virtlayer.sizes import MIB

BUS = "org.freedesktop.DBus"
USER, PASSWORD, ROOT_PASSWORD = "me", "swordfish-5hk2", "tilefish-8vw4"
PAIR = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = [secret.encode() for secret in (PASSWORD, ROOT_PASSWORD, PAIR)]
LAYERS = [
    layer(directory("etc"), file("etc/passwd", b"root:x:0:0::/:/bin/sh\n")),
    layer(file("etc/shadow", b"root:*:1::::::\n"), file("big", os.urandom(8 * MIB))),
]


class Snoop:
    """Reads what every process shows, and every file below some directories, all the time.

    Attributes:
        shown: Secrets in a command line or an environment.
        files: Files that had a secret in them at some time.
        open_files: Those of them that others could have read.
    """

    def __init__(self, *places: Path) -> None:
        self._places = places
        self._stop = threading.Event()
        # Two, because skopeo's file may be there for a shorter time than all processes take.
        looks = (self._look_at_processes, self._look_at_files)
        self._threads = [threading.Thread(target=self._run, args=(look,)) for look in looks]
        self.shown: set[str] = set()
        self.files: set[Path] = set()
        self.open_files: set[Path] = set()

    def __enter__(self) -> "Snoop":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, look: Callable[[], None]) -> None:
        while not self._stop.is_set():
            look()

    def _look_at_processes(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                if has_secret(process / name):
                    self.shown.add((process / name).read_text(errors="replace"))

    def _look_at_files(self) -> None:
        for place in self._places:
            for path in place.rglob("*"):
                if has_secret(path):
                    self._note(path)

    def _note(self, path: Path) -> None:
        self.files.add(path)
        with contextlib.suppress(OSError):
            modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)]
            if modes != [0o600, 0o700]:
                self.open_files.add(path)


def has_secret(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if "/proc/" in str(path) or (path.is_file() and path.stat().st_size < MIB):
            content = path.read_bytes()
            return any(secret in content for secret in SECRETS)
    return False


@contextlib.contextmanager
def monitor(bus: Bus, output: Path) -> Iterator[None]:
    """Write down every signal and every property that goes over the bus."""
    rules = ["type='signal'", "type='method_return'", "type='error'"]
    with (
        output.open("wb") as stream,
        subprocess.Popen(["dbus-monitor", "--address", bus.address, *rules], stdout=stream) as one,
    ):
        try:
            # The bus takes its name away when it begins to show it all messages.
            wait_until(lambda: b"NameLost" in output.read_bytes())
            yield
        finally:
            one.terminate()


def descriptor_of(content: str) -> int:
    """A descriptor that gives this text."""
    reading, writing = os.pipe()
    os.write(writing, content.encode())
    os.close(writing)
    return reading


@pytest.mark.parametrize("way", ["password", "authfile", "auth-fd"])
async def test_secrets_are_not_visible(host: LibvirtHost, tmp_path: Path, way: str) -> None:
    pool = f"secret-{way}"
    pool_directory = host.start_pool(pool)
    for name in ("bus", "home", "caller"):
        (tmp_path / name).mkdir(mode=0o700)
    home = tmp_path / "home"
    settings = f"[storage]\nvirtual-size = {64 * MIB}\n"
    with (
        Registry(tmp_path / "registry", htpasswd=(USER, PASSWORD)) as registry,
        session_bus(tmp_path / "bus") as bus,
        virtlayerd(host, bus, home, settings=settings) as daemon,
        monitor(bus, tmp_path / "seen"),
        Snoop(home, pool_directory) as snoop,
    ):
        source = registry.store(image(LAYERS), "secret:1")
        authfile = json.dumps({"auths": {registry.host: {"auth": PAIR}}})
        (tmp_path / "caller" / "auth.json").write_text(authfile)
        options = {"tls-verify": Variant("b", False), "volume": Variant("s", "disk")}
        descriptors: list[int] = []
        match way:
            case "password":
                options |= {"username": Variant("s", USER), "password": Variant("s", PASSWORD)}
                options["root-password"] = Variant("s", ROOT_PASSWORD)
            case "authfile":
                options["authfile"] = Variant("s", str(tmp_path / "caller" / "auth.json"))
                options["root-password"] = Variant("s", ROOT_PASSWORD)
            case _:
                for number, (name, content) in enumerate(
                    (("auth-fd", authfile), ("root-password-fd", ROOT_PASSWORD))
                ):
                    descriptors.append(descriptor_of(content))
                    options[name] = Variant("h", number)
        async with watching(bus.address) as watch:
            reply = await watch.connection.call(
                Message(
                    destination=SERVICE,
                    path=ROOT,
                    interface=MANAGER,
                    member="Pull",
                    signature="ssa{sv}",
                    body=[source, pool, options],
                    unix_fds=descriptors,
                )
            )
            assert reply is not None
            assert reply.signature == "uo", reply.body
            path = reply.body[1]
            job = await watch.finished(path)
            managed = await watch.ask(
                ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"
            )
            # The refusal of the bus comes after all other messages.
            with pytest.raises(BusError, match="TheEnd"):
                await watch.connection.ask(BUS, "/org/freedesktop/DBus", BUS, "TheEnd")
        assert job["State"] == "done", job["Message"]
        for descriptor in descriptors:
            os.close(descriptor)
        told = repr((job, managed, watch.told)).encode() + daemon.log.encode()
        await until(lambda: b"TheEnd" in (tmp_path / "seen").read_bytes())
    seen = (tmp_path / "seen").read_bytes()
    assert b"JobFinished" in seen
    told += seen
    assert [secret for secret in SECRETS if secret in told] == []
    assert snoop.shown == set()
    assert snoop.open_files == set()
    for place in (home, pool_directory):
        assert [path for path in place.rglob("*") if has_secret(path)] == []
    # skopeo reads them from a private file, which is gone by now.
    assert snoop.files
    host.stop_pool(pool)
