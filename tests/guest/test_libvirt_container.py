# SPDX-License-Identifier: LGPL-2.1-or-later
"""The init of machines as process 1 of a container of libvirt-LXC with mapped ids."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bus.polkit import open_directory
from tests.support.containers import run_container
from tests.support.guest import INIT, Output, busybox_tree, parse_records
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import RecordKind

pytestmark = pytest.mark.root

_BASE, _COUNT = 1_048_576, 65_536
_DOMAIN = """\
<domain type='lxc'>
  <name>box</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <idmap>
    <uid start='0' target='{base}' count='{count}'/>
    <gid start='0' target='{base}' count='{count}'/>
  </idmap>
  <os>
    <type>exe</type>
    <init>/dev/virtlayer-init</init>
    <initarg>--container</initarg>
    <initarg>/dev/virtlayer-config</initarg>
    <initarg>/dev/virtlayer-output</initarg>
  </os>
  <devices>
    <filesystem type='mount'><source dir='{tree}'/><target dir='/'/></filesystem>
    <filesystem type='mount'>
      <source dir='{init}'/><target dir='/dev/virtlayer-init'/><readonly/>
    </filesystem>
    <filesystem type='mount'>
      <source dir='{files}/config'/><target dir='/dev/virtlayer-config'/><readonly/>
    </filesystem>
    <filesystem type='mount'>
      <source dir='{files}/output'/><target dir='/dev/virtlayer-output'/>
    </filesystem>
    <console type='pty'/>
  </devices>
</domain>
"""
_SCRIPT = """
id
cat /proc/self/uid_map
echo "$GIVEN $(hostname) $(tty)"
grep some-box /etc/hosts
touch /dev/shm/new
busybox mount | grep -oE '(run|shm|mqueue) type [a-z]*'
exit 7
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Where libvirt opens files as user 0 of the container."""
    with open_directory() as directory:
        yield directory


def _chown(path: Path) -> None:
    status = path.lstat()
    os.lchown(path, _BASE + status.st_uid, _BASE + status.st_gid)


def _run(tree: Path, config: GuestConfig, directory: Path) -> Output:
    files = directory / "files"
    files.mkdir()
    (files / "config").write_bytes(config.encoded())
    (files / "config").chmod(0o400)
    (files / "output").touch(0o600)
    for path in (*tree.rglob("*"), tree, *files.iterdir()):
        _chown(path)
    description = directory / "domain.xml"
    description.write_text(
        _DOMAIN.format(base=_BASE, count=_COUNT, tree=tree, files=files, init=INIT)
    )
    run_container(description, "box")
    return Output(parse_records((files / "output").read_bytes()))


@pytest.mark.parametrize("terminal", [False, True])
def test_entrypoint_runs_in_a_container_with_mapped_ids(place: Path, terminal: bool) -> None:
    config = GuestConfig(
        arguments=("sh", "-c", _SCRIPT),
        environment=("GIVEN=a value",),
        user="app",
        hostname="some-box",
        terminal=terminal,
    )
    output = _run(busybox_tree(place), config, place)
    assert output.failure == ""
    written = output.of(RecordKind.TERMINAL if terminal else RecordKind.STDOUT).decode()
    lines = written.split("\r\n" if terminal else "\n")
    assert output.of(RecordKind.STDERR) == b""
    assert lines[0] == "uid=1000(app) gid=1001(app) groups=5(extra),10(wheel),1001(app)"
    assert lines[1].split() == ["0", str(_BASE), str(_COUNT)]
    assert lines[2] == f"a value some-box {'/dev/pts/1' if terminal else 'not a tty'}"
    assert lines[3:] == [
        "127.0.1.1\tsome-box",
        "shm type tmpfs",
        "mqueue type mqueue",
        "run type tmpfs",
        "",
    ]
    assert output.status == 7


def test_image_with_one_program_runs_in_a_container(place: Path) -> None:
    tree = place / "scratch"
    tree.mkdir()
    shutil.copy("/bin/busybox", tree)
    output = _run(tree, GuestConfig(arguments=("/busybox", "echo", "text")), place)
    assert (output.stdout, output.failure, output.status) == ("text\n", "", 0)
