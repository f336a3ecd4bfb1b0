# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domain XML from the command: machines boot with it, and do what the image's config says."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.images import Content, directory, file, image, layer, symlink
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine import boot_files, running
from tests.support.pool_user import PoolUser, pool_user, qemu_img
from tests.support.registry import Registry
from tests.support.virtlayerd import virtlayerd

SHOW = """\
#!/bin/sh
echo "user $(id -u):$(id -g)"
echo "directory $(pwd)"
echo "greeting $GREETING"
for word in "$@"; do echo "argument <$word>"; done
echo kept >written && echo 'root writable'
"""
CONFIG: dict[str, object] = {
    "Entrypoint": ["show", "it's"],
    "Cmd": ['a "word"', "", "a=b c"],
    "Env": ["PATH=/bin", "GREETING=hello  world", "odd.name=x"],
    "WorkingDir": "/work here",
    "User": "worker",
}
SHOWN = """\
user 1000:1001
directory /work here
greeting hello  world
argument <it's>
argument <a "word">
argument <>
argument <a=b c>
root writable
"""
HOSTILE: dict[str, object] = {
    "Entrypoint": ["show", "x ro init=/evil\tinit=/evil\ninit=/evil panic=9"],
    "Cmd": ["--", "init=/evil", 'a" init=/evil "b', "é\xa0init=/evil \x1b", "\n"],
    "Env": ["PATH=/bin", "root=/dev/nowhere", "init=/evil", "GREETING=$init $(id) %s \\040"],
    "WorkingDir": "/work here",
}
HOSTILE_SHOWN = """\
user 0:0
directory /work here
greeting $init $(id) %s \\040
argument <x ro init=/evil\tinit=/evil
init=/evil panic=9>
argument <-->
argument <init=/evil>
argument <a" init=/evil "b>
argument <é\xa0init=/evil \x1b>
argument <
>
root writable
"""
INIT = """\
#!/bin/sh
touch written 2>/dev/null && root=writable || root=read-only
echo "init $1 as $$, $GREETING, $root"
poweroff -f
"""


@pytest.fixture(scope="module")
def user(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolUser]:
    with (
        Registry(tmp_path_factory.mktemp("registry")) as registry,
        session_bus(tmp_path_factory.mktemp("bus")) as bus,
        virtlayerd(host, bus, tmp_path_factory.mktemp("virtlayerd")) as daemon,
        pool_user(daemon, registry, host) as user,
    ):
        yield user


def bootable(config: dict[str, object]) -> Content:
    """An image of a static busybox and what the tests start."""
    applets = ("sh", "sync", "mount", "touch", "sleep", "poweroff", "su", "id")
    base = layer(
        *map(directory, ("bin", "dev", "etc", "proc", "sys", "sbin")),
        directory("work here", mode=0o777),
        file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755),
        *(symlink(f"bin/{name}", "busybox") for name in applets),
        file("bin/show", SHOW.encode(), mode=0o755),
        file("etc/passwd", b"root:x:0:0::/:/bin/sh\nworker:x:1000:1001::/:/bin/false\n"),
        file("sbin/init", INIT.encode(), mode=0o755),
        # A volume has the config of an image that it stands on: each config its own volume.
        file("config", repr(config).encode()),
    )
    return image([base], config={"config": config})


_KERNEL_MESSAGE = re.compile(r"\[ *[0-9]+\.[0-9]{6}\] [^\n]*\n")
"""The kernel writes it to the same console at any time, also in the middle of a line."""


async def booted_console(user: PoolUser, name: str, *options: str) -> str:
    """The console output of a machine that runs from the XML for an image or volume."""
    domain = f"xml-{name.partition('.')[0]}"
    with boot_files(user.host, domain) as files:
        printed = await user.tell(
            *("xml", name, user.pool, f"--domain={domain}", "--memory=256M", "--no-kvm"),
            *options,
            *(f"--kernel={files / 'kernel'}", f"--initrd={files / 'initramfs'}"),
        )
        assert_valid(printed, files / "printed.xml")
        console = files / "console"
        pty = '<console type="pty" />'
        assert pty in printed
        line = f'<serial type="unix"><source mode="bind" path="{console}"/></serial>'
        with running(user.host, domain, printed.replace(pty, line), console) as machine:
            machine.wait_until_off()
            return _KERNEL_MESSAGE.sub("", machine.said)


def assert_valid(xml: str, scratch: Path) -> None:
    """It is valid by libvirt's schema."""
    scratch.write_text(xml)
    done = subprocess.run(
        ["virt-xml-validate", scratch, "domain"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + xml


async def test_volume_boots_with_the_config_of_its_image(user: PoolUser) -> None:
    [top] = await user.pull(bootable(CONFIG), "program")
    user.overlay(user.path / "machine.qcow2", Path(top))
    user.host.virsh("pool-refresh", user.pool)
    assert SHOWN in await booted_console(user, "machine.qcow2")
    # Without a journal's replay: the machine has written everything before it was off.
    raw = user.host.directory / "machine.raw"
    qemu_img("convert", "-O", "raw", str(user.path / "machine.qcow2"), str(raw))
    shown = subprocess.check_output(["debugfs", "-R", 'cat "/work here/written"', raw], text=True)
    assert shown == "kept\n"


async def test_an_image_boots_on_a_new_volume_and_its_init_is_started_itself(
    user: PoolUser,
) -> None:
    config: dict[str, object] = {"Cmd": ["/sbin/init", "two words"], "Env": ["GREETING=good day"]}
    await user.pull(bootable(config), "system")
    said = await booted_console(user, "system", "--volume=system.qcow2")
    assert "init two words as 1, good day, writable\n" in said


async def test_image_config_is_not_in_kernel_parameters(user: PoolUser) -> None:
    [top] = await user.pull(bootable(HOSTILE), "hostile")
    user.overlay(user.path / "hostile.qcow2", Path(top))
    user.host.virsh("pool-refresh", user.pool)
    assert HOSTILE_SHOWN in await booted_console(user, "hostile.qcow2")

    config: dict[str, object] = {
        "Cmd": ["/sbin/init", "x init=/evil"],
        "Env": ["init=/evil", "root=/dev/nowhere", "GREETING=hello\nrw"],
    }
    await user.pull(bootable(config), "init")
    said = await booted_console(user, "init", "--volume=init.qcow2")
    assert "init x init=/evil as 1, hello\nrw, writable\n" in said


async def test_control_characters_are_exact_for_machines_and_refused_for_containers(
    user: PoolUser,
) -> None:
    await user.pull(bootable({"Cmd": ["show", "\x1b[31m\r"]}), "control")
    with_volume = ("xml", "control", user.pool, "--volume=control.qcow2")
    printed = await user.tell(*with_volume, "--kernel=/bin/busybox")
    root = ElementTree.fromstring(printed)  # noqa: S314 -- our own
    assert r"\033[31m\015" in (root.findtext("os/cmdline") or "")
    ended = await user.fail("xml", "control.qcow2", user.pool, "--type=lxc", "--privileged")
    assert ended.status == 2
    assert r'"\x1b[31m\x0d" has a control character' in ended.stderr


async def test_a_volume_has_the_config_of_the_version_that_it_is_backed_by(user: PoolUser) -> None:
    old = image([layer(file("old", b""))], config={"config": {"Cmd": ["old"]}})
    [top] = await user.pull(old, "moving")
    user.overlay(user.path / "older.qcow2", Path(top))
    await user.pull(image([layer(file("new", b""))], config={"config": {"Cmd": ["new"]}}), "moving")
    arguments = ("older.qcow2", user.pool, "--type=lxc", "--privileged")
    root = ElementTree.fromstring((await user.run("xml", *arguments))["xml"])  # noqa: S314
    words = [root.findtext("os/init"), *(one.text for one in root.findall("os/initarg"))]
    assert words == ["/bin/sh", "-c", 'exec "$0" "$@"', "old"]


async def test_container_xml_has_the_config_in_its_elements(user: PoolUser, tmp_path: Path) -> None:
    config = CONFIG | {
        "Entrypoint": ["/bin/show"],
        "User": "worker:staff",
        "WorkingDir": "/work",
    }
    await user.pull(bootable(config), "program")
    container = ("xml", "program", user.pool, "--volume=container.qcow2", "--type=lxc")
    ended = await user.fail(*container)
    assert (ended.status, "--privileged" in ended.stderr) == (2, True)
    printed = await user.tell(*container, "--privileged")
    assert_valid(printed, tmp_path / "domain.xml")
    root = ElementTree.fromstring(printed)  # noqa: S314 -- our own
    assert (root.get("type"), root.findtext("os/type")) == ("lxc", "exe")
    assert root.findtext("os/init") == "/bin/show"
    assert [one.text or "" for one in root.findall("os/initarg")] == CONFIG["Cmd"]
    assert {one.get("name"): one.text for one in root.findall("os/initenv")} == {
        "PATH": "/bin",
        "GREETING": "hello  world",
    }
    assert root.findtext("os/initdir") == "/work"
    assert (root.findtext("os/inituser"), root.findtext("os/initgroup")) == ("worker", "staff")
    filesystem = root.find("devices/filesystem")
    assert filesystem is not None
    driver, source = filesystem.find("driver"), filesystem.find("source")
    assert driver is not None
    assert driver.attrib == {"type": "nbd", "format": "qcow2"}
    assert source is not None
    assert source.attrib == {"file": str(user.path / "container.qcow2")}


async def test_missing_names_are_reported(user: PoolUser) -> None:
    assert (await user.fail("xml", "nothing", user.pool)).status == 3
    await user.pull(bootable(CONFIG), "program")
    with_volume = ("xml", "program", user.pool, "--volume=unused.qcow2")
    ended = await user.fail(*with_volume, "--kernel=/no/kernel")
    assert (ended.status, "/no/kernel" in ended.stderr) == (2, True)
    assert "unused.qcow2" not in user.volumes
