# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writable volumes by the command, with everything real, looked into through the kernel."""

import asyncio
import contextlib
import hashlib
import json
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import Variant

from tests.integration.test_command import watched_processes
from tests.support.command import Ended, virtlayer, virtlayer_on_terminal
from tests.support.images import Content, directory, file, hardlink, image, layer
from tests.support.job_watch import MANAGER, ROOT, watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine import booted
from tests.support.privileges import call_as_root
from tests.support.registry import Registry
from tests.support.trees import mounted
from tests.support.virtlayerd import Daemon
from tests.support.volumes import assert_sound
from virtlayer.dbus.connection import BusError
from virtlayer.sizes import MIB

PASSWORD = "swordfish-9wq1 ü"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me"
PASSWD = b"rootless:*:7:7::/:/bin/sh\nroot:*:0:0:root:/root:/bin/sh\n"
SIZE = 64 * MIB

_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox --install -s /bin
/bin/busybox hostname -F /etc/hostname
/bin/busybox setsid /bin/busybox getty -L 115200 ttyS0 vt100
poweroff -f
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry.store(bootable(), "demo:1")


def bootable() -> Content:
    return image(
        [
            layer(
                *map(directory, ("bin", "dev", "etc", "proc", "root", "sbin")),
                file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o4755),
                hardlink("bin/login-too", "bin/busybox"),
                file("sbin/init", _INIT.encode(), mode=0o755),
                file("etc/hostname", b"nameless\n"),
            ),
            layer(
                file("etc/passwd", PASSWD),
                file("etc/group", b"root:x:0:\nshadow:x:42:\n"),
                file("user", b"", uid=1000, gid=1000),
            ),
        ]
    )


class Place:
    """A pool with the image, and the command that works on it."""

    def __init__(self, daemon: Daemon, host: LibvirtHost, pool: str) -> None:
        self.daemon, self.host, self.pool = daemon, host, pool
        self.directory = host.pool_directory(pool)

    async def run(self, *arguments: str, stdin: str = "") -> Ended:
        return await virtlayer("--user", *arguments, env=self.daemon.environment, stdin=stdin)

    async def create(self, volume: str, *options: str, stdin: str = "") -> Ended:
        return await self.run("create-volume", "demo:1", volume, self.pool, *options, stdin=stdin)

    async def created(self, volume: str, *options: str, stdin: str = "") -> Path:
        ended = await self.create(volume, "--json", *options, stdin=stdin)
        assert ended.status == 0, ended.stderr + self.daemon.log
        path = Path(json.loads(ended.stdout)["path"])
        assert path == self.directory / volume
        return path

    @property
    def layers(self) -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.directory.glob("layer-*")
        }


@pytest.fixture(scope="module")
def place(daemon: Daemon, host: LibvirtHost, source: str) -> Iterator[Place]:
    """One pool for all tests; each test uses its own volume names."""
    host.start_pool("volumes")
    place = Place(daemon, host, "volumes")
    pulled = asyncio.run(place.run("pull", source, "volumes", "--tls-verify=false"))
    assert pulled.status == 0, pulled.stderr
    yield place
    host.stop_pool("volumes")


@contextlib.contextmanager
def opened(volume: Path) -> Iterator[Path]:
    """The tree in a volume, through qemu and the kernel; e2fsck finds nothing."""
    with tempfile.TemporaryDirectory(prefix="volume-") as directory:
        raw = Path(directory) / "raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", volume, raw], check=True)
        assert_sound(raw)
        with mounted(raw, Path(directory) / "mnt") as root:
            yield root


def accepts(hashed: str, password: str) -> bool:
    """Whether the system's crypt(3), as Perl has it, makes the same hash of the password."""
    script = "exit(crypt(join('', <STDIN>), $ARGV[0]) eq $ARGV[0] ? 0 : 1)"
    done = subprocess.run(["perl", "-e", script, hashed], input=password.encode(), check=False)
    return done.returncode == 0


async def test_a_volume_is_an_overlay_that_libvirt_knows(place: Place) -> None:
    layers = place.layers
    path = await place.created("guest:1.img")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", path]))
    assert (info["virtual-size"], info["format"]) == (SIZE, "qcow2")
    assert info["backing-filename"] in layers
    assert info["backing-filename-format"] == "qcow2"
    xml = place.host.virsh("vol-dumpxml", "guest:1.img", "--pool", place.pool)
    assert f"<path>{place.directory / info['backing-filename']}</path>" in xml
    assert {*layers, "guest:1.img"} <= {*place.host.volumes(place.pool)}
    with opened(path) as root:
        assert (root / "etc/passwd").read_bytes() == PASSWD
        assert not (root / "etc/shadow").exists()
    assert place.layers == layers


@pytest.mark.parametrize(
    ("name", "options", "status", "text"),
    [
        ("taken", [], 7, 'has a volume "taken"'),
        (".hidden", [], 2, 'Invalid name ".hidden" of a new volume'),
        ("a/b", [], 2, "Invalid volume name"),
        ("a\nb", [], 2, "Invalid volume name"),
        ("", [], 2, "Invalid volume name"),
        ("x" * 256, [], 2, "Invalid volume name"),
        (f"layer-{'0' * 64}.qcow2", [], 2, "layers of images"),
        ("small", ["--size=63M"], 2, "--size: Invalid size: 63 MiB"),
        ("odd", ["--size=65000K"], 2, "multiple of 1 MiB"),
        ("huge", ["--size=64T"], 2, "from 64 MiB to 63 TiB"),
        ("host", ["--hostname=a_b"], 2, "hostname"),
        ("map", ["--uid-map=0:1:2", "--uid-map=1:9:1"], 2, "overlapping starts"),
        ("map", ["--gid-map=0:1"], 2, "START:TARGET:COUNT"),
        ("key", ["--ssh-key=/etc/hostname"], 2, "public key"),
        ("key", ["--ssh-key=/nowhere"], 2, "Cannot read --ssh-key /nowhere"),
        ("far", ["--size=65G", "--grow"], 2, "grow to 64 GiB"),
    ],
)
async def test_impossible_volume_is_refused_and_leaves_nothing(
    place: Place, name: str, options: list[str], status: int, text: str
) -> None:
    (place.directory / "taken").write_bytes(b"")
    before = place.host.volumes(place.pool)
    ended = await place.create(name, *options)
    assert (ended.status, text in ended.stderr) == (status, True), ended.stderr
    assert place.host.volumes(place.pool) == before


async def test_a_volume_is_not_smaller_than_its_image(place: Place, source: str) -> None:
    options = ("--name=large", "--size=128M", "--tls-verify=false")
    assert (await place.run("pull", source, place.pool, *options)).status == 0
    jobs = (await place.run("jobs", "--json")).stdout
    ended = await place.run("create-volume", "large", "small", place.pool, "--size=64M")
    assert ended.status == 2
    assert 'cannot have 64 MiB: the image "large" has 128 MiB' in ended.stderr
    # The call was refused: there was no job.
    assert (await place.run("jobs", "--json")).stdout == jobs
    assert (await place.run("remove", "large", place.pool)).status == 0


async def test_missing_image_is_reported(place: Place) -> None:
    ended = await place.run("create-volume", "demo:2", "v", place.pool)
    assert ended.status == 3
    assert 'has no image "demo:2"' in ended.stderr


async def test_only_one_of_two_volumes_of_the_same_name_is_created(place: Place) -> None:
    both = await asyncio.gather(place.create("twin"), place.create("twin"))
    assert sorted(ended.status for ended in both) == [0, 7]
    assert "twin" in place.host.volumes(place.pool)


async def test_volume_has_the_requested_customizations(place: Place, tmp_path: Path) -> None:
    layers = place.layers
    keys = tmp_path / "keys.pub"
    keys.write_text(f"# mine\n\n{KEY}\n")
    async with watched_processes() as seen:
        path = await place.created(
            "web",
            *("--root-password-stdin", f"--ssh-key={keys}", "--hostname=web.example"),
            *("--size=200M", "--grow"),
            *("--uid-map=0:100000:1000", "--uid-map=1000:5000:1", "--gid-map=0:200000:65536"),
            stdin=f"{PASSWORD}\n",
        )
    with opened(path) as root:
        shadow = root / "etc/shadow"
        line = call_as_root(Path.read_text, shadow)
        assert accepts(line.split(":")[1], PASSWORD)
        assert not accepts(line.split(":")[1], PASSWORD + "x")
        info = shadow.stat()
        assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o640, 100_000, 200_042)
        assert (root / "etc/passwd").read_bytes() == PASSWD.replace(b"root:*:0", b"root:x:0")
        assert call_as_root(Path.read_text, root / "root/.ssh/authorized_keys") == f"{KEY}\n"
        assert (root / "etc/hostname").read_text() == "web.example\n"
        busybox, user = (root / "bin/busybox").stat(), (root / "user").stat()
        assert (busybox.st_uid, busybox.st_gid) == (100_000, 200_000)
        assert stat.S_IMODE(busybox.st_mode) == 0o4755
        assert (user.st_uid, user.st_gid) == (5000, 201_000)
    assert place.layers == layers
    hidden = PASSWORD.encode()
    assert not any(hidden in one for one in seen)
    assert line.split(":")[1].encode() not in b"".join(seen)
    assert PASSWORD not in place.daemon.log
    assert hidden not in path.read_bytes()
    assert not any(
        hidden in file.read_bytes() for file in place.daemon.directory.rglob("*") if file.is_file()
    )


async def test_a_password_that_is_none_is_refused_and_not_shown(place: Place) -> None:
    for password, text in (("", "empty"), ("SECRET\tpassword", "control"), ("S" * 600, "511")):
        ended = await place.create("v", "--root-password-stdin", stdin=password)
        assert (ended.status, text in ended.stderr) == (2, True), ended.stderr
        assert "SECRET" not in ended.stderr + place.daemon.log
    assert "v" not in place.host.volumes(place.pool)


async def test_a_terminal_is_asked_for_the_password_twice(place: Place) -> None:
    for second, status in (("two", 2), ("one", 0)):
        ended = await virtlayer_on_terminal(
            *("--user", "create-volume", "demo:1", "asked", place.pool, "--root-password"),
            env=place.daemon.environment,
            answers=[("Password for root: ", "one"), ("Again: ", second)],
        )
        assert ended.status == status, ended.stdout
        assert ("do not match" in ended.stdout) == bool(status)
        assert "one" not in ended.stdout
    with opened(place.directory / "asked") as root:
        assert accepts(call_as_root(Path.read_text, root / "etc/shadow").split(":")[1], "one")


async def test_pull_makes_a_volume_as_well(place: Place, source: str) -> None:
    pull = ("pull", source, place.pool, "--tls-verify=false", "--json")
    ended = await place.run(
        *pull,
        "--volume=both",
        "--volume-size=128M",
        "--hostname=both",
        "--root-password-stdin",
        stdin=PASSWORD,
    )
    assert ended.status == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert (result["volume"], result["path"]) == ("both", str(place.directory / "both"))
    assert sorted(result["volumes"]) == sorted(place.layers)
    info = place.host.virsh("vol-info", "both", "--pool", place.pool, "--bytes")
    assert str(128 * MIB) in info
    with opened(place.directory / "both") as root:
        assert (root / "etc/hostname").read_text() == "both\n"
        assert accepts(call_as_root(Path.read_text, root / "etc/shadow").split(":")[1], PASSWORD)

    again = await place.run(*pull, "--volume=both")
    assert again.status == 7
    aimless = await place.run(*pull, "--hostname=both")
    assert aimless.status == 2
    assert "--hostname requires --volume." in json.loads(aimless.stderr)["message"]


async def test_the_bus_takes_options_by_their_types_and_tells_no_secret(place: Place) -> None:
    def options(**given: tuple[str, object]) -> dict[str, Variant]:
        return {name.replace("_", "-"): Variant(*value) for name, value in given.items()}

    async with watching(place.daemon.bus.address) as client:

        async def create(volume: str, **given: tuple[str, object]) -> dict[str, Any]:
            arguments = (place.pool, "demo:1", volume, options(**given))
            _, path = await client.ask(ROOT, MANAGER, "CreateVolume", "sssa{sv}", *arguments)
            return await client.finished(path)

        job = await create(
            "typed",
            root_password=("s", PASSWORD),
            ssh_authorized_keys=("as", [KEY]),
            uid_map=("a(uuu)", [[0, 100_000, 5]]),
            grow_filesystem=("b", True),
        )
        assert (job["State"], job["Kind"], job["Source"]) == ("done", "create-volume", "demo:1")
        result = job["Result"]
        assert (result["volume"], result["size"]) == ("typed", SIZE)
        assert result["image"].startswith("/org/virtlayer1/image/")
        assert PASSWORD not in f"{job}{client.told}{place.daemon.log}"

        for name, value in (
            ("uid_map", ("a(ii)", [[0, 1]])),
            ("ssh_authorized_keys", ("s", KEY)),
            ("root_password", ("ay", PASSWORD.encode())),
        ):
            with pytest.raises(BusError, match="must be of type") as caught:
                await create("other", **{name: value})
            assert PASSWORD not in str(caught.value)
        with pytest.raises(BusError, match='Unknown option "cache"'):
            await create("other", cache=("b", True))
    with opened(place.directory / "typed") as root:
        assert call_as_root(Path.stat, root / "root/.ssh/authorized_keys").st_uid == 100_000


async def test_a_volume_with_a_password_boots_to_a_login_that_takes_it(place: Place) -> None:
    password = "correct horse"
    path = await place.created(
        "boot", "--root-password-stdin", "--hostname=stable", "--size=1G", "--grow", stdin=password
    )
    with booted(place.host, path) as machine:
        machine.wait_for("stable login:")
        machine.send("root")
        machine.wait_for("Password:")
        machine.send("wrong")
        machine.wait_for("Login incorrect")
        machine.wait_for("stable login:")
        machine.send("root")
        machine.wait_for("Password:")
        machine.send(password)
        machine.wait_for("#")
        machine.send("id -u -n; df -m / | tail -n 1; sync; mount -o remount,ro /; poweroff -f")
        said = machine.wait_for("%")
        machine.wait_until_off()
    assert "root\n" in said
    blocks = int(said.split()[-4])
    assert 900 < blocks < 1024
    with opened(path) as root:
        assert (root / "bin/sh").is_symlink()
