# SPDX-License-Identifier: LGPL-2.1-or-later
"""A FUSE file system with one file, whose reads are never answered (fuse(4), as root).

::

    with stalled_files(directory) as stalled:
        descriptor = os.open(stalled.file, os.O_RDONLY)
        ...  # a read of it waits until the context is left
"""

import contextlib
import enum
import os
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_NAME = "secret"
_ROOT, _FILE = 1, 2
_SIZE = 100
_HEADER = struct.Struct("<IIQQIIIHH")
_ENOENT, _ENOSYS = 2, 38


class _Request(enum.IntEnum):
    """Opcodes of linux/fuse.h; so are the structures here, of protocol 7.31."""

    LOOKUP = 1
    GETATTR = 3
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    INIT = 26


@dataclass(slots=True)
class Stalled:
    """A mounted file system.

    Attributes:
        file: Its file.
        asked: Set when a read has come in, which is not answered.
    """

    file: Path
    asked: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def stalled_files(directory: Path) -> Iterator[Stalled]:
    """Mount the file system on a directory; on leaving, waiting reads fail."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40755,user_id=0,group_id=0,allow_other"
    # mount(8) hands the descriptor on as it is.
    subprocess.run(
        ["mount", "--internal-only", "-t", "fuse", "-o", options, "stalled", directory],
        check=True,
        pass_fds=[device],
    )
    stalled = Stalled(directory / _NAME)
    serving = threading.Thread(target=_serve, args=(device, stalled), daemon=True)
    serving.start()
    try:
        yield stalled
    finally:
        subprocess.run(["umount", "--force", "--lazy", directory], check=True)
        # The device answers ENODEV from now on.
        serving.join()
        os.close(device)


def _serve(device: int, stalled: Stalled) -> None:
    with contextlib.suppress(OSError):
        while request := os.read(device, 256 * 1024):
            _length, opcode, unique, node, *_rest = _HEADER.unpack_from(request)
            body = request[_HEADER.size :]
            if opcode == _Request.READ:
                stalled.asked.set()
            elif (answer := _answer(opcode, node, body)) is not None:
                error, content = answer
                os.write(device, struct.pack("<IiQ", 16 + len(content), -error, unique) + content)


def _answer(opcode: int, node: int, body: bytes) -> tuple[int, bytes] | None:
    match opcode:
        case _Request.INIT:
            return 0, struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 8, 8, 65536, 1, 16, 0, 0)
        case _Request.LOOKUP if body.rstrip(b"\0") == _NAME.encode():
            return 0, struct.pack("<QQQQII", _FILE, 0, 60, 60, 0, 0) + _attributes(_FILE)
        case _Request.LOOKUP:
            return _ENOENT, b""
        case _Request.GETATTR:
            return 0, struct.pack("<QII", 60, 0, 0) + _attributes(node)
        case _Request.OPEN:
            return 0, struct.pack("<QII", 1, 0, 0)
        case _Request.STATFS:
            return 0, struct.pack("<QQQQQIIIIIIIIII", *(0,) * 5, 4096, 255, 4096, *(0,) * 7)
        case _Request.RELEASE:
            return 0, b""
        case _:
            return _ENOSYS, b""


def _attributes(node: int) -> bytes:
    mode = 0o040755 if node == _ROOT else 0o100644
    times = (0,) * 6
    return struct.pack(
        "<QQQQQQIIIIIIIIII", node, _SIZE, 1, *times[:3], *times[3:], mode, 1, 0, 0, 0, 4096, 0
    )
