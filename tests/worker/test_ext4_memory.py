# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lack of memory at any step of the writer is reported as an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from build_extensions import FLAGS

from tests.support.volumes import SIZE, format_volume, served
from virtlayer.worker.ext4.filesystem import ROOT, Ext4Filesystem
from virtlayer.worker.tree import Metadata

_ATTRIBUTES = {b"user.%d" % number: b"value" * number for number in range(20)} | {
    b"system.posix_acl_access": bytes.fromhex(
        "0200000001000600ffffffff04000400ffffffff20000400ffffffff"
    )
}

_PROGRAM = """
import ctypes, socket, sys
from virtlayer.worker.ext4.attributes import read_attributes, write_attributes
from virtlayer.worker.ext4.editing import EditableExt4
from virtlayer.worker.tree import Metadata

fail_after = ctypes.CDLL(sys.argv[3]).fail_after
fail_after.restype = ctypes.c_long
fail_after.argtypes = [ctypes.c_long]

class Sparse:
    # Not more, and no attributes: libext2fs crashes if it has no memory to open an extent tree.
    size = 4 * 40960
    segments = [(number * 40960, 5000) for number in range(4)]

    def pieces(self, length):
        yield memoryview(bytes(length))

    def whole(self):
        return None

filesystem = EditableExt4.opened(socket.socket(fileno=int(sys.argv[1])))
node = filesystem.find(2, b"node").node
everything = read_attributes(filesystem._writer, node)
number = 0

def read():
    assert read_attributes(filesystem._writer, node) == everything

def write():
    write_attributes(filesystem._writer, node, everything)

def add():
    global number
    number += 1
    filesystem.add_file(2, b"%d" % number, Metadata(0o644, 0, 0, 0), Sparse())

use = {"read": read, "write": write, "add": add}[sys.argv[2]]
use()
failed = 0
for calls in range(100_000):
    fail_after(calls)
    try:
        use()
    except MemoryError:
        failed += 1
    if fail_after(-1) >= 0:
        break
write()
read()
print(len(everything), failed)
"""


@pytest.fixture(scope="module")
def failing_malloc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("malloc") / "malloc.so"
    source = Path(__file__).with_name("c") / "one_failing_malloc.c"
    plain = [flag for flag in FLAGS if not flag.startswith("-fsanitize")]
    subprocess.run(["gcc", *plain, "-fPIC", "-shared", "-o", library, source], check=True)
    return library


@pytest.mark.parametrize("use", ["read", "write", "add"])
async def test_lack_of_memory_is_reported_as_an_error(
    use: str, failing_malloc: Path, tmp_path: Path
) -> None:
    def fill(filesystem: Ext4Filesystem) -> None:
        filesystem.add_directory(ROOT, b"node", Metadata(0o755, 0, 0, 0, _ATTRIBUTES))

    volume = tmp_path / "volume"
    await format_volume(volume, SIZE, "memory", fill)
    async with served(volume) as connection:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(connection.fileno()), use, failing_malloc],
            pass_fds=[connection.fileno()],
            env=os.environ | {"LD_PRELOAD": str(failing_malloc)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    attributes, failed = map(int, done.stdout.split())
    assert attributes == len(_ATTRIBUTES)
    assert failed
