# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a directory tree consists of, entry by entry, so that two of them can be compared.

``umoci_tree`` becomes root for it. What ``mounted`` shows, a user reads with his own rights.
"""

import contextlib
import dataclasses
import hashlib
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.support.privileges import as_root, call_as_root

# What the kernel makes up, or what belongs to the file system and not to the image.
_NOT_CONTENT = (b"security.selinux",)
_LARGE = 1024**3
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Node:
    """One name in a tree, with everything that an image can say of it."""

    kind: str
    """The letter that ls(1) has for it."""
    mode: int
    uid: int
    gid: int
    mtime: int | None
    """Nanoseconds since 1970; None where it says nothing, which differs from no time."""
    size: int = 0
    content: str = ""
    """sha256 of a file, target of a symlink, numbers of a device."""
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    first_name: bytes = b""
    """The first of the names that a file has; the same for all of them."""


type TreeContent = Mapping[bytes, Node]


@dataclass(slots=True)
class _Scan:
    nodes: dict[bytes, Node] = field(default_factory=dict)
    names: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def visit(self, path: bytes, full: bytes) -> None:
        """Note a node.

        Args:
            path: Its name in the tree.
            full: A name by which the kernel finds it, short even where the path is too long.
        """
        info = os.lstat(full)
        is_file = not stat.S_ISDIR(info.st_mode)
        self.nodes[path] = Node(
            kind=stat.filemode(info.st_mode)[0],
            mode=stat.S_IMODE(info.st_mode),
            uid=info.st_uid,
            gid=info.st_gid,
            mtime=info.st_mtime_ns,
            size=info.st_size if stat.S_ISREG(info.st_mode) else 0,
            content=_content(full, info),
            attributes=tuple(
                sorted(
                    (os.fsencode(name), os.getxattr(full, name, follow_symlinks=False))
                    for name in os.listxattr(full, follow_symlinks=False)
                    if os.fsencode(name) not in _NOT_CONTENT
                )
            ),
            first_name=self.names.setdefault((info.st_dev, info.st_ino), path)
            if is_file and info.st_nlink > 1
            else b"",
        )
        if not is_file:
            descriptor = os.open(full, os.O_RDONLY | os.O_DIRECTORY)
            try:
                here = b"/proc/self/fd/%d/" % descriptor
                for name in sorted(os.listdir(here)):  # noqa: PTH208 -- names are bytes
                    self.visit(path + b"/" + name if path else name, here + name)
            finally:
                os.close(descriptor)


def _content(path: bytes, info: os.stat_result) -> str:
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as stream:  # noqa: PTH123 -- names are bytes
            if info.st_size > _LARGE:
                return _digest_of_data(stream, info.st_size)
            return hashlib.file_digest(stream, "sha256").hexdigest()
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(path).decode(errors="backslashreplace")  # noqa: PTH115 -- bytes
    if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
        return f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    return ""


def _digest_of_data(stream: BinaryIO, size: int) -> str:
    """A digest of a file that is mostly holes: of its data, block by block, and where that is."""
    digest = hashlib.sha256(b"%d" % size)
    for offset in _blocks_of_data(stream.fileno(), size):
        block = os.pread(stream.fileno(), _BLOCK, offset)
        if block.strip(b"\0"):
            digest.update(b"%d " % offset + block)
    return digest.hexdigest()


def _blocks_of_data(descriptor: int, size: int) -> Iterator[int]:
    position = 0
    while position < size:
        try:
            position = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:
            return
        position -= position % _BLOCK
        end = os.lseek(descriptor, position, os.SEEK_HOLE)
        yield from range(position, end, _BLOCK)
        position = end


def scan(root: Path) -> dict[bytes, Node]:
    """Every node of a tree by its path; the root's path is empty."""
    result = _Scan()
    result.visit(b"", os.fsencode(root))
    return result.nodes


def differences(left: TreeContent, right: TreeContent, *, limit: int = 20) -> list[str]:
    """The differences, one a line, for a readable assertion message."""
    lines = []
    for path in sorted(left.keys() | right.keys()):
        one, other = left.get(path), right.get(path)
        if one == other:
            continue
        if one is None or other is None:
            lines.append(f"{path!r}: only {'right' if one is None else 'left'}: {one or other}")
            continue
        for fact in dataclasses.fields(Node):
            here, there = getattr(one, fact.name), getattr(other, fact.name)
            if here != there and None not in (here, there):
                lines.append(f"{path!r}: {fact.name}: {here!r} ≠ {there!r}")
    return lines[:limit]


@contextlib.contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """The file system of a raw image, mounted read-only by the kernel."""
    at.mkdir(exist_ok=True)
    # Without "noload" the kernel would have to replay a journal, and would refuse if it had to.
    subprocess.run(as_root("mount", "-o", "ro,loop", image, at), check=True)
    try:
        yield at
    finally:
        subprocess.run(as_root("umount", at), check=True)


def umoci_tree(layout: Path, tag: str, work: Path) -> dict[bytes, Node]:
    """The tree that umoci unpacks an image of an OCI layout to.

    Directories that no layer has an entry for, and the root, get the time of the unpacking from it:
    here they get none.
    """
    return call_as_root(_umoci_tree, layout, tag, work)


def _umoci_tree(layout: Path, tag: str, work: Path) -> dict[bytes, Node]:
    started = time.time_ns() - 10**9
    bundle = work / f"bundle-{tag}"
    command: list[str | Path] = ["umoci", "unpack", "--image", f"{layout}:{tag}", bundle]
    try:
        subprocess.run(command, check=True, capture_output=True)
        found = scan(bundle / "rootfs")
    finally:
        # It is root's, and a user's pytest could not clear it away.
        shutil.rmtree(bundle, ignore_errors=True)
    return {
        path: dataclasses.replace(node, mtime=None)
        if node.kind == "d" and node.mtime is not None and node.mtime > started
        else node
        for path, node in found.items()
    }
