# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images as directories and as machines' disks, by the command, with everything real.

These tests need root; what a user gets is tried as another user too.
"""

import asyncio
import itertools
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.command import COMMAND, virtlayer
from tests.support.containers import run_container
from tests.support.directory_user import users_directory
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import (
    Content,
    Entry,
    LayerContent,
    device,
    directory,
    file,
    hardlink,
    image,
    layer,
    opaque,
    symlink,
    whiteout,
)
from tests.support.libvirt_host import LibvirtHost, session_host
from tests.support.pool_content import left_by_jobs, unfinished_in
from tests.support.pool_user import PoolUser, qemu_img
from tests.support.registry import Registry
from tests.support.trees import scan
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import until
from virtlayer.sizes import MIB

_numbers = itertools.count(1)
_PASSWD = b"root:*:0:0:root:/root:/bin/sh\n"
_CONFIG = {"config": {"Env": ["A=b"], "Cmd": ["/bin/app"], "WorkingDir": "/srv"}}


@pytest.fixture(scope="module")
def daemon(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with (
        session_bus(tmp_path_factory.mktemp("bus")) as bus,
        virtlayerd(host, bus, tmp_path_factory.mktemp("virtlayerd")) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def user(daemon: Daemon, registry: Registry, host: LibvirtHost) -> Iterator[PoolUser]:
    """Whose pool nobody else can enter; afterwards nothing unfinished is in it."""
    name = f"closed-{next(_numbers)}"
    path = host.start_pool(name)
    path.chmod(0o700)
    yield PoolUser(daemon, registry, host, name)
    assert left_by_jobs(path) == []
    host.stop_pool(name)


def _root_filesystem() -> Content:
    return image(
        [
            layer(
                directory("etc"),
                file("etc/passwd", _PASSWD),
                directory("bin"),
                file("bin/app", b"#!/bin/sh\n", mode=0o4755, uid=7, gid=8),
                device("null", "c", 1, 3),
                file("gone", b""),
            ),
            layer(whiteout("gone"), hardlink("app-too", "bin/app"), directory("srv", mode=0o555)),
        ],
        config=_CONFIG,
    )


def _stored(user: PoolUser, content: Content) -> str:
    return user.registry.store(content, f"image-{next(_numbers)}:1")


def _pull(user: PoolUser, source: str, *options: str) -> tuple[str, ...]:
    return ("pull", source, user.pool, "--tls-verify=false", *options)


# ---- directories ----


@pytest.mark.root
async def test_an_image_becomes_a_directory_that_libvirt_lists(user: PoolUser) -> None:
    source = _stored(user, _root_filesystem())
    result = await user.run(*_pull(user, source, "--format=dir", "--volume=guest"))
    path = user.path / "guest"
    assert {key: result[key] for key in ("volume", "volumes", "path", "format")} == {
        "volume": "guest",
        "volumes": ["guest"],
        "path": str(path),
        "format": "dir",
    }
    assert (result["layers_built"], result["layers_reused"]) == (2, 0)
    assert (result["squashed"], result["skipped_devices"]) == (False, 0)
    assert "image" not in result
    found = scan(path)
    assert found.keys() == {
        b"",
        *(b"etc", b"etc/passwd", b"bin", b"bin/app", b"null", b"app-too", b"srv"),
    }
    app = found[b"bin/app"]
    assert (app.mode, app.uid, app.gid, app.first_name) == (0o4755, 7, 8, b"app-too")
    assert found[b""].mode == 0o755
    assert "dir" in user.host.virsh("vol-info", "guest", "--pool", user.pool)
    assert user.volumes == ["guest"]
    assert await user.run("images", user.pool) == []


async def test_directory_xml_has_the_config_of_its_image(user: PoolUser) -> None:
    source = _stored(user, _root_filesystem())
    await user.run(*_pull(user, source, "--format=dir", "--volume=web"))
    xml = await user.tell("xml", "web", user.pool, "--type=lxc", "--privileged")
    assert f'<source dir="{user.path / "web"}" />' in xml
    assert "<init>/bin/app</init>" in xml
    assert "<initdir>/srv</initdir>" in xml

    (user.path / "web").rename(user.path / "away")
    (user.path / "web").mkdir()
    other = await user.tell("xml", "web", user.pool, "--type=lxc", "--privileged")
    assert "/bin/app" not in other


@pytest.mark.root
async def test_a_directory_is_customized(user: PoolUser) -> None:
    source = _stored(user, _root_filesystem())
    options = ("--hostname=web", "--uid-map=0:100000:65536", "--root-password-stdin")
    ended = await virtlayer(
        *("--user", *_pull(user, source, "--format=dir", "--volume=web", *options)),
        env=user.daemon.environment,
        stdin="secret",
    )
    assert ended.status == 0, ended.stderr
    found = scan(user.path / "web")
    assert (user.path / "web/etc/hostname").read_text() == "web\n"
    assert (user.path / "web/etc/shadow").read_text().startswith("root:$6$")
    app = found[b"bin/app"]
    assert (app.uid, app.gid, app.mode) == (100_007, 8, 0o4755)
    assert found[b""].uid == 100_000


@pytest.mark.root
async def test_directory_with_an_id_map_can_be_where_others_may_enter(user: PoolUser) -> None:
    path = user.path
    path.chmod(0o711)
    source = _stored(user, _root_filesystem())
    options = ("--format=dir", "--volume=web", "--id-map=auto", "--hostname=web")
    result = await user.run(*_pull(user, source, *options))
    assert (result["squashed"], result["skipped_devices"]) == (False, 1)
    found = scan(path / "web")
    app = found[b"bin/app"]
    assert (app.uid, app.gid, app.mode) == (1_048_576 + 7, 1_048_576 + 8, 0o4755)
    assert {found[name].uid for name in (b"", b"etc/passwd", b"etc/hostname")} == {1_048_576}
    assert b"null" not in found

    printed = await user.tell("xml", "web", user.pool, "--type=lxc")
    root = ElementTree.fromstring(printed)  # noqa: S314 -- our own
    expected = {"start": "0", "target": "1048576", "count": "65536"}
    for tag in ("uid", "gid"):
        [one] = root.findall(f"idmap/{tag}")
        assert one.attrib == expected
    description = user.host.directory / f"{user.pool}.xml"
    description.write_text(printed)
    subprocess.run(["virt-xml-validate", description, "domain"], check=True)

    # Another directory in its place is not the one whose ids were mapped.
    (path / "web").rename(path / "away")
    (path / "web").mkdir()
    ended = await user.fail("xml", "web", user.pool, "--type=lxc")
    assert (ended.status, "--id-map=auto" in ended.stderr) == (2, True)


@pytest.mark.root
async def test_root_of_a_container_with_an_id_map_is_not_root_of_the_host(user: PoolUser) -> None:
    # libvirt does not start a container that ends before it has connected to it.
    script = (
        "id >/out; cat /proc/self/uid_map >>/out; su worker -c id >>/out; touch /root/new; sleep 1"
    )
    commands = ("sh", "id", "cat", "su", "touch", "sleep")
    content = image(
        [
            layer(
                *map(directory, ("bin", "etc", "tmp")),
                directory("root", mode=0o700),
                file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o4755),
                *(symlink(f"bin/{name}", "busybox") for name in commands),
                file("etc/passwd", b"root::0:0::/root:/bin/sh\nworker::1000:1000::/:/bin/sh\n"),
                file("etc/group", b"root:x:0:\nworker:x:1000:\n"),
                file("out", b""),
            )
        ],
        config={"config": {"Entrypoint": ["/bin/sh", "-c", script], "Env": ["PATH=/bin"]}},
    )
    pull = _pull(user, _stored(user, content), "--format=dir", "--volume=box", "--id-map=auto")
    await user.run(*pull)
    description = user.host.directory / "box.xml"
    description.write_text(await user.tell("xml", "box", user.pool, "--type=lxc"))
    user.path.chmod(0o711)
    await asyncio.to_thread(run_container, description, "box")

    root, mapped, worker = (user.path / "box/out").read_text().splitlines()
    assert root.startswith("uid=0(root) gid=0(root)")
    assert mapped.split() == ["0", "1048576", "65536"]
    assert worker.startswith("uid=1000(worker) gid=1000(worker)")
    assert (user.path / "box/root/new").stat().st_uid == 1_048_576


@pytest.mark.root
async def test_image_with_ids_that_a_container_has_not_is_refused(user: PoolUser) -> None:
    content = image([layer(file("su", b"", mode=0o4755, uid=100_000))])
    pull = _pull(user, _stored(user, content), "--format=dir", "--id-map=auto")
    ended = await user.fail(*pull)
    assert (ended.status, "has a file of user 100000" in ended.stderr) == (2, True)
    assert user.volumes == []


async def test_a_name_that_is_taken_is_refused(user: PoolUser) -> None:
    source = _stored(user, _root_filesystem())
    pull = _pull(user, source, "--format=dir", "--volume=one")
    both = await asyncio.gather(
        *(virtlayer("--user", *pull, env=user.daemon.environment) for _ in range(2))
    )
    assert sorted(ended.status for ended in both) == [0, 7]
    again = await user.fail(*pull)
    assert (again.status, 'has a volume "one"' in again.stderr) == (7, True)
    assert user.volumes == ["one"]


@pytest.mark.root
async def test_a_pool_that_others_can_enter_gets_no_setuid_programs(user: PoolUser) -> None:
    user.path.chmod(0o711)
    ended = await user.fail(*_pull(user, _stored(user, _root_filesystem()), "--format=dir"))
    assert "can enter (chmod o-x)" in ended.stderr
    assert user.volumes == []


@pytest.mark.root
async def test_closed_pool_of_another_user_gets_no_setuid_programs(user: PoolUser) -> None:
    path = user.path
    os.chown(path, 5, 60)
    path.chmod(0o700)
    ended = await user.fail(*_pull(user, _stored(user, _root_filesystem()), "--format=dir"))
    assert f"{path} belongs to uid 5 and has mode 0700" in ended.stderr
    assert unfinished_in(path) == []


async def test_failed_pull_leaves_no_directory(user: PoolUser) -> None:
    bad = image([layer(directory("a"), file("a/b")), layer(hardlink("x", "nowhere"))])
    ended = await user.fail(*_pull(user, _stored(user, bad), "--format=dir"))
    assert '"nowhere"' in ended.stderr
    no_root = image([layer(file("a"))])
    options = ("--format=dir", "--root-password-stdin")
    ended = await virtlayer(
        "--user",
        *_pull(user, _stored(user, no_root), *options),
        env=user.daemon.environment,
        stdin="secret",
    )
    assert (ended.status, "has no /etc/passwd" in ended.stderr) == (2, True)
    assert user.volumes == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ("--format=dir", "--size=1G"),
            "With --format=dir, --size, --volume-size and --grow cannot be used",
        ),
        (
            ("--format=dir", "--grow"),
            "With --format=dir, --size, --volume-size and --grow cannot be used",
        ),
        (
            ("--format=disk", "--volume-size=1G"),
            "With --format=disk, --size, --volume-size and --grow cannot be used",
        ),
        (("--format=disk", "--hostname=a"), "is not changed"),
        (("--id-map=auto",), "--id-map requires --format=dir"),
        (("--format=disk", "--id-map=auto"), "--id-map requires --format=dir"),
        (("--format=dir", "--id-map=auto", "--uid-map=0:1:1"), "--id-map excludes --uid-map"),
        (("--format=dir", "--volume=a/b"), 'Invalid volume name "a/b"'),
    ],
)
async def test_invalid_options_are_refused(
    user: PoolUser, options: tuple[str, ...], text: str
) -> None:
    ended = await user.fail(*_pull(user, "docker://localhost:1/a", *options))
    assert (ended.status, text in ended.stderr) == (2, True), ended.stderr


async def test_a_cancelled_pull_leaves_no_directory(user: PoolUser) -> None:
    many = layer(*(file(f"{number:05}", b"x" * 200) for number in range(5000)))
    last = layer(file("last"))
    staging = user.path / ".virtlayer" / "staging"
    user.path.chmod(0o700)
    async with FaultyRegistry() as slow:
        source = slow.store(image([many, last]), "many:1")
        # Otherwise the pull could have ended when it is cancelled.
        slow.faults[last.digest] = Fault.HANG
        started = await user.run(*_pull(user, source, "--format=dir", "--no-wait"))
        await until(lambda: [*staging.glob("*/root/0*")])
        await user.run("cancel", str(started["id"]))
    await until(lambda: not left_by_jobs(user.path))
    assert user.volumes == []


# ---- the same, for a user ----


@pytest.fixture(scope="module")
def users_host() -> Iterator[LibvirtHost]:
    with session_host() as host:
        yield host


@pytest.fixture(scope="module")
def users_daemon(users_host: LibvirtHost) -> Iterator[Daemon]:
    with (
        users_directory() as place,
        session_bus(place) as bus,
        virtlayerd(users_host, bus, place) as running,
    ):
        yield running


async def test_users_directory_belongs_to_the_user_and_is_reported(
    users_host: LibvirtHost, users_daemon: Daemon, registry: Registry
) -> None:
    source = registry.store(_root_filesystem(), "theirs:1")
    path = users_host.start_pool("default")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        pull = ("--user", "pull", source, "default", "--tls-verify=false", *arguments)
        return subprocess.run(
            users_host.as_owner(str(COMMAND), *pull),
            env=users_daemon.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    ended = await asyncio.to_thread(run, "--format=dir", "--volume=a", "--hostname=a", "--json")
    assert ended.returncode == 0, ended.stderr + users_daemon.log
    result = json.loads(ended.stdout)
    assert (result["squashed"], result["skipped_devices"]) == (True, 1)
    found = scan(path / "a")
    assert {node.uid for node in found.values()} == {users_host.owner}
    assert (found[b"bin/app"].mode, found[b"srv"].mode) == (0o755, 0o555)
    assert (path / "a/etc/hostname").read_text() == "a\n"

    ended = await asyncio.to_thread(run, "--format=dir", "--volume=b")
    assert "you own all files" in ended.stdout
    assert "; 1 device left out" in ended.stdout

    ended = await asyncio.to_thread(run, "--format=dir", "--volume=c", "--uid-map=0:1:1")
    assert (ended.returncode, "belong to you" in ended.stderr) == (2, True)
    ended = await asyncio.to_thread(run, "--format=dir", "--volume=c", "--id-map=auto")
    assert (ended.returncode, "belong to you" in ended.stderr) == (2, True)
    assert users_host.volumes("default") == ["a", "b"]
    assert unfinished_in(path) == ["a", "b"]


# ---- machines' disks ----


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a qcow2, the same disk as raw, and disks that must be refused."""
    place = tmp_path_factory.mktemp("disks")
    raw = place / "good.raw"
    raw.write_bytes(b"boot" * 128 * 1024)
    with raw.open("r+b") as stream:
        stream.truncate(20 * MIB)
    qemu_img("convert", "-q", "-f", "raw", "-O", "qcow2", str(raw), str(place / "good.qcow2"))
    qemu_img("convert", "-q", "-f", "raw", "-O", "vmdk", str(raw), str(place / "vmdk"))
    qemu_img("convert", "-q", "-f", "raw", "-O", "vdi", str(raw), str(place / "vdi"))
    overlay = ("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd")
    qemu_img(*overlay, str(place / "overlay"))
    external = ("create", "-q", "-f", "qcow2", "-o", f"data_file={place / 'data'},data_file_raw=on")
    qemu_img(*external, str(place / "external"), "1M")
    # The name of a data file alone, without the feature bit that makes it one.
    head = bytearray((place / "external").read_bytes())
    head[72:80] = bytes(8)
    (place / "named").write_bytes(head)
    (place / "extents").write_bytes(
        b"# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
        b'createType="monolithicFlat"\nRW 100 FLAT "/etc/shadow" 0\n'
    )
    broken = bytearray((place / "good.qcow2").read_bytes())
    broken[40:48] = b"\xff" * 8  # where the L1 table is
    (place / "broken").write_bytes(broken)
    (place / "short").write_bytes(broken[:50])
    return place


def _disk_image(*entries: Entry, **options: object) -> Content:
    return image([layer(directory("disk"), *entries)], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "disk", "disk_format"),
    [
        ("fedora.qcow2", "good.qcow2", "qcow2"),
        ("disk.img", "good.qcow2", "qcow2"),
        ("disk.img", "good.raw", "raw"),
        ("disk.raw", "good.raw", "raw"),
    ],
)
async def test_the_disk_in_an_image_becomes_a_volume(
    user: PoolUser, disks: Path, name: str, disk: str, disk_format: str
) -> None:
    content = _disk_image(file(f"disk/{name}", (disks / disk).read_bytes(), uid=107, gid=107))
    source = _stored(user, content)
    result = await user.run(*_pull(user, source, "--format=disk", "--volume=machine"))
    path = user.path / "machine"
    assert (result["format"], result["virtual_size"], result["path"]) == (
        disk_format,
        20 * MIB,
        str(path),
    )
    assert path.read_bytes() == (disks / disk).read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_nlink == 1
    if disk_format == "raw":
        assert path.stat().st_blocks * 512 < 2 * MIB
    xml = user.host.virsh("vol-dumpxml", "machine", "--pool", user.pool)
    assert f"<format type='{disk_format}'/>" in xml
    assert user.volumes == ["machine"]
    description = await user.run("inspect", source, "--tls-verify=false")
    assert description["container_disk"] is False


async def test_a_machine_on_such_a_disk_boots_by_itself(user: PoolUser, disks: Path) -> None:
    content = _disk_image(file("disk/a.img", (disks / "good.qcow2").read_bytes()))
    await user.run(*_pull(user, _stored(user, content), "--format=disk", "--volume=own"))
    # Where there is KVM, it may be for others than who runs the tests.
    xml = await user.tell("xml", "own", user.pool, "--no-kvm")
    assert "<kernel>" not in xml
    assert '<driver name="qemu" type="qcow2" />' in xml
    description = user.host.directory / f"{user.pool}.xml"
    description.write_text(xml)
    user.host.virsh("define", "--validate", str(description))
    user.host.virsh("undefine", "own")
    ended = await user.fail("xml", "own", user.pool, "--type=lxc")
    assert "is the disk of a machine" in ended.stderr

    user.host.virsh("vol-delete", "own", "--pool", user.pool)
    (user.path / "own").write_bytes(b"another")
    user.host.virsh("pool-refresh", user.pool)
    assert "<kernel>" in await user.tell("xml", "own", user.pool, "--kernel=/dev/null")


async def test_layers_are_read_like_a_file_system(user: PoolUser, disks: Path) -> None:
    good, other = (disks / "good.qcow2").read_bytes(), bytes(4096)
    cases: list[list[LayerContent]] = [
        [layer(file("disk/a.img", other)), layer(whiteout("disk/a.img"), file("disk/b.img", good))],
        [layer(file("disk/a.img", other)), layer(opaque("disk"), file("disk/b.img", good))],
        [
            layer(file("disk/a.img", other)),
            layer(whiteout("disk")),
            layer(file("disk/b.img", good)),
        ],
        [layer(file("disk/a.img", other)), layer(file("./disk//a.img", good))],
        [layer(file("disk/a.img", good)), layer(file("other/c.img", other), whiteout("x"))],
        [layer(file("disk/a.img", other), file("disk/a.img", good))],
        [
            layer(file("disk/a.img", other), file("disk/readme", b"")),
            layer(symlink("disk", "x")),
            layer(directory("disk"), file("disk/b.img", good)),
        ],
    ]
    for number, layers in enumerate(cases):
        pull = _pull(user, _stored(user, image(layers)), "--format=disk", f"--volume=v{number}")
        await user.run(*pull)
        assert (user.path / f"v{number}").read_bytes() == good, number


@pytest.mark.parametrize(
    ("disk", "text"),
    [
        ("overlay", "is an overlay of another image"),
        ("external", "has its data in another file"),
        ("named", "has its data in another file"),
        ("extents", "has the unsupported format VMDK"),
        ("vmdk", "has the unsupported format VMDK"),
        ("vdi", "has the unsupported format VDI"),
        ("broken", "is not a disk image that qemu-img can read"),
        ("short", "ends within its qcow2 header"),
    ],
)
async def test_a_disk_that_reaches_out_is_refused(
    user: PoolUser, disks: Path, disk: str, text: str
) -> None:
    content = _disk_image(file("disk/disk.img", (disks / disk).read_bytes()))
    ended = await user.fail(*_pull(user, _stored(user, content), "--format=disk"))
    assert text in ended.stderr
    assert "/disk/disk.img" in ended.stderr
    assert user.volumes == []


async def test_images_with_no_disk_or_several_are_reported(user: PoolUser) -> None:
    cases = {
        "has no disk": _disk_image(file("disk/notes.txt"), symlink("disk/a.img", "/etc/passwd")),
        'has 2 disk images in /disk, not one: "a.img", "b.raw"': _disk_image(
            file("disk/a.img", b"1"), file("disk/b.raw", b"2")
        ),
        "a hard link": _disk_image(file("disk/a"), hardlink("disk/a.img", "disk/a")),
    }
    for text, content in cases.items():
        ended = await user.fail(*_pull(user, _stored(user, content), "--format=disk"))
        assert text in ended.stderr, ended.stderr
    assert user.volumes == []


async def test_digests_hold_for_disks_and_directories(user: PoolUser) -> None:
    lying = image([layer(file("disk/a.img", b"1"), diff_id="sha256:" + "0" * 64)])
    source = _stored(user, lying)
    for disk_format in ("dir", "disk"):
        ended = await user.fail(*_pull(user, source, f"--format={disk_format}"))
        assert "unpacks to sha256:" in ended.stderr
    assert user.volumes == []


async def test_inspect_knows_container_disks_by_how_they_were_built(user: PoolUser) -> None:
    steps = [{"created_by": "ADD --chown=107:107 fedora.qcow2 /disk/ # buildkit"}]
    labels = {"Labels": {"instancetype.kubevirt.io/default-preference": "fedora"}}
    for config in ({"history": steps}, {"config": labels}):
        source = _stored(user, _disk_image(file("disk/a.img"), config=config))
        found = await user.run("inspect", source, "--tls-verify=false")
        assert found["container_disk"] is True
        text = await user.tell("inspect", source, "--tls-verify=false")
        assert "--format=disk" in text
