# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process table of docs/security.md, compared with the processes of the system service."""

import json
import random

import pytest

from tests.acceptance.conftest import PASSWORD, USER
from tests.acceptance.system import System
from tests.support.images import file, image, layer
from tests.support.process_table import name_of, process_table
from tests.support.processes import Status
from tests.support.registry import Registry
from virtlayer.sizes import MIB

TABLE = process_table()
UNITS = ("virtlayerd.service", "virtlayer-keeper.service")
# Runs commands, and prints what was seen last of each process of the units until their end.
_WATCH = """
import json, pathlib, subprocess, sys

password, units, commands = json.load(sys.stdin)
groups = [pathlib.Path("/sys/fs/cgroup/system.slice", unit, "cgroup.procs") for unit in units]
seen = {}
for command in commands:
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    running.stdin.write(password.encode())
    running.stdin.close()
    while running.poll() is None:
        for group in filter(pathlib.Path.exists, groups):
            for pid in group.read_text().split():
                place = pathlib.Path("/proc", pid)
                try:
                    if (place / "exe").readlink().name.startswith("systemd"):
                        continue  # about to become the unit's program
                    words = (place / "cmdline").read_bytes()
                    status = (place / "status").read_text()
                    if words and words == (place / "cmdline").read_bytes():
                        seen[pid, words] = status
                except OSError:
                    pass
    assert running.returncode == 0, command
print(json.dumps([[words.decode(), status] for (_, words), status in seen.items()]))
"""


@pytest.fixture(scope="module")
def seen(system: System, registry: Registry) -> list[tuple[str, Status]]:
    """The processes of pulls in each format: the names of their rows, and their rights."""
    seed = random.Random(15)  # noqa: S311 -- no secret
    disk = layer(file("disk/large.img", seed.randbytes(48 * MIB)), compression="none")
    # A worker gives up rights before its first byte: the more it does then, the surer it is seen.
    files = [file(f"tree-{number}", seed.randbytes(1024)) for number in range(20_000)]
    layers = [disk, layer(*files, compression="none")]
    source = registry.store(image(layers), "table:1")
    pull = ["virtlayer", "pull", source, f"--username={USER}", "--password-stdin"]
    define_closed_pool(system)
    system.run("systemctl", "stop", *UNITS)
    commands = [
        [*pull, "--volume=table.qcow2", "--hostname=table"],
        [*pull, "closed", "--format=dir", "--volume=table-tree", "--name=tree"],
        [*pull, "--format=disk", "--volume=table-disk", "--name=disk"],
    ]
    arguments = json.dumps([PASSWORD, UNITS, commands])
    printed = json.loads(system.run("python3", "-c", _WATCH, stdin=arguments))
    named = ((name_of(words.split("\0")), Status.parsed(status)) for words, status in printed)
    return [(name, status) for name, status in named if name is not None]


def define_closed_pool(system: System) -> None:
    """Make a pool for directories, which users cannot enter."""
    system.run("install", "--directory", "--mode=0700", "/var/lib/libvirt/closed")
    system.run(
        *("virsh", "--quiet", "pool-create-as", "closed", "dir"),
        "--target=/var/lib/libvirt/closed",
    )


def test_processes_of_pulls_are_in_the_table(seen: list[tuple[str, Status]]) -> None:
    names = {name for name, _ in seen}

    assert names <= set(TABLE)
    assert names >= {
        *("virtlayerd", "virtlayer-keeper", "skopeo", "qemu-storage-daemon"),
        *("layer worker", "directory worker", "disk worker"),
    }


def test_processes_have_the_rights_of_the_table(
    system: System, seen: list[tuple[str, Status]]
) -> None:
    words = system.unit("virtlayer-keeper.service", "CapabilityBoundingSet").split()
    keeper = frozenset(word.removeprefix("cap_").upper() for word in words)

    for name, status in seen:
        row = TABLE[name]
        row.check_in_system(status, uid=system.uid(row.user), keeper=keeper)
