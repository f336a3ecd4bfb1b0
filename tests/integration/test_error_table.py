# SPDX-License-Identifier: LGPL-2.1-or-later
"""The errors of the command: for each, the exit status and the exact text, with real parts.

An ordinary user runs the command and virtlayerd, so missing permissions count.
"""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.error_table import LARGE_LAYER, PLAIN, TABLE
from tests.support.bus_daemon import session_bus
from tests.support.command import COMMAND
from tests.support.images import file, image, layer, write_layout
from tests.support.libvirt_host import LibvirtHost, session_host
from tests.support.registry import Registry
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import PATIENCE
from virtlayer.client.exits import Exit
from virtlayer.sizes import MIB

PASSWORD = "swordfish-7hk3"
_PROGRESS = re.compile(r"\A(\w+ \d+%.*\n)*")
"""Printed by a job that takes longer than a second, as any can where the machine is busy."""
SMALL = image([layer(file("etc/motd", b"hello"))])
LARGE = image([LARGE_LAYER])


@dataclass(frozen=True, slots=True)
class Place:
    """The environment of the commands of the table."""

    host: LibvirtHost
    daemon: Daemon
    registry: Registry
    private: Registry

    @property
    def files(self) -> Path:
        """The caller's files."""
        return self.host.directory / "files"

    def run(
        self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run the command as the user of the service; return its exit status and its errors."""
        ended = subprocess.run(
            self.host.as_owner(str(COMMAND), "--user", *map(self._filled, arguments)),
            env=environment or self.daemon.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert PASSWORD not in ended.stdout + ended.stderr
        return ended.returncode, self._shown(_PROGRESS.sub("", ended.stderr))

    @property
    def _values(self) -> dict[str, str]:
        return {
            "{registry}": self.registry.host,
            "{private}": self.private.host,
            "{files}": str(self.files),
            "{pools}": str(self.host.directory / "pools"),
            "{uri}": self.host.uri,
            "{run}": str(self.host.directory / "run" / "libvirt"),
        }

    def _filled(self, argument: str) -> str:
        for name, value in self._values.items():
            argument = argument.replace(name, value)
        return argument

    def _shown(self, text: str) -> str:
        for name, value in self._values.items():
            text = text.replace(value, name)
        return text


@contextlib.contextmanager
def _service(host: LibvirtHost) -> Iterator[Daemon]:
    """A virtlayerd of the host's user, on a bus of its own."""
    directories = [host.directory / name for name in ("bus", "virtlayerd", "files")]
    for directory in directories:
        directory.mkdir(mode=0o755)
        host.hand_over(directory)
    settings = f"[storage]\nvirtual-size = {64 * MIB}\n"
    with (
        session_bus(directories[0]) as bus,
        virtlayerd(host, bus, directories[1], settings=settings) as daemon,
    ):
        yield daemon


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Registry]]:
    places = [tmp_path_factory.mktemp(name) for name in ("registry", "private")]
    with (
        Registry(places[0]) as registry,
        Registry(places[1], tls=True, htpasswd=("me", PASSWORD)) as private,
    ):
        yield registry, private


@pytest.fixture(scope="module")
def place(registries: tuple[Registry, Registry]) -> Iterator[Place]:
    with session_host() as host, _service(host) as daemon:
        place = Place(host, daemon, *registries)
        _fill(place)
        yield place
        for path in place.files.iterdir():
            path.chmod(0o755)


def _fill(place: Place) -> None:
    host, files = place.host, place.files
    host.start_pool("default")
    host.define_pool("asleep")
    shutil.rmtree(host.start_pool("lost"))
    host.start_pool("closed").chmod(0o555)
    place.registry.store(SMALL, "small:1")
    place.registry.store(LARGE, "large:1")
    place.private.store(SMALL, "secret:1")
    shutil.copytree(place.private.cert_dir, files / "certs")
    write_layout(files / "layout", {"1": SMALL, "2": LARGE})
    write_layout(files / "closed", {"1": SMALL})
    (files / "closed").chmod(0)
    (files / "logins.json").write_text("{}")
    (files / "logins.json").chmod(0)
    (files / "junk.tar").write_bytes(b"x" * 5000)
    place.registry.store(image([layer(file("etc/used", b"used"))]), "used:1")
    for name in ("small:1", "used:1"):
        assert place.run("pull", f"docker://{{registry}}/{name}", PLAIN)[0] == Exit.OK
    for image_name, volume in (("small:1", "taken"), ("used:1", "user")):
        assert place.run("create-volume", image_name, volume)[0] == Exit.OK


@pytest.mark.parametrize(
    ("arguments", "status", "text"), TABLE, ids=[" ".join(row[0]) for row in TABLE]
)
def test_error_has_its_status_and_text(
    place: Place, arguments: list[str], status: int, text: str
) -> None:
    stdin = "wrong-9wq2\n" if "--password-stdin" in arguments else ""
    assert place.run(*arguments, stdin=stdin) == (status, f"virtlayer: {text}\n")


def test_stopped_libvirtd_is_unavailable(registries: tuple[Registry, Registry]) -> None:
    with session_host() as host, _service(host) as daemon:
        host.kill()
        status, text = Place(host, daemon, *registries).run("prune")
    assert (status, text.splitlines()[-1]) == (
        Exit.UNAVAILABLE,
        (
            "virtlayer: Cannot connect to libvirt at {uri}: Failed to connect socket to "
            "'{run}/libvirt-sock': Connection refused. Check that libvirtd is running, and the "
            "URI (--connect)."
        ),
    )


def test_missing_bus_and_missing_service_are_unavailable(place: Place) -> None:
    directory = place.host.directory / "elsewhere"
    directory.mkdir(mode=0o755)
    nowhere = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={directory}/none"}
    assert place.run("images", environment=place.daemon.environment | nowhere) == (
        Exit.UNAVAILABLE,
        (
            "virtlayer: Cannot connect to the bus at "
            f"unix:path={directory}/none: No such file or directory. If there is no "
            "session bus, start one for your commands: dbus-run-session -- bash\n"
        ),
    )
    with session_bus(directory) as empty:
        elsewhere = {"DBUS_SESSION_BUS_ADDRESS": empty.address}
        assert place.run("images", environment=place.daemon.environment | elsewhere) == (
            Exit.UNAVAILABLE,
            (
                "virtlayer: virtlayerd is unavailable (The name org.virtlayer1 was not provided by "
                "any .service files). Start it: virtlayerd --session\n"
            ),
        )
