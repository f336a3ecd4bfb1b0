# SPDX-License-Identifier: LGPL-2.1-or-later
"""Unpacks archives and images with GNU tar, bsdtar and umoci.

The archives are hostile, and the tools run as root: nothing but their own directory can be written.
"""

import dataclasses
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.foreign.comparison import Outcome, Refusal
from tests.foreign.corpus import ForeignArchive
from tests.support.images import image, layer, write_layout
from tests.support.trees import Node, scan

GNU_TAR, BSDTAR, UMOCI = "GNU tar", "bsdtar", "umoci"

_SECONDS = 300
_LARGEST_FILE = 1024**3
"""Bytes that umoci may write to a file: it writes holes, too, and there are tens of gigabytes."""
_SHUT_IN = 'mount --bind "$1" "$1" && mount -o remount,ro,bind / && cd "$1" && shift && exec "$@"'
_TAR = ("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf")
_BSDTAR = ("bsdtar", "--numeric-owner", "--xattrs", "--acls", "-xpf")


def umoci_of_image(reference: str, work: Path) -> Outcome:
    """The tree that umoci unpacks from an image, which skopeo copies to a layout."""
    layout = work / "copied"
    command = ["skopeo", "copy", "--quiet", reference, f"oci:{layout}:test"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    return _unpacked(layout, work) if done.returncode == 0 else Refusal(done.stderr.strip())


def _gnu_tar(archive: ForeignArchive, work: Path) -> Outcome:
    return _extracted(archive, work, _TAR)


def _bsdtar(archive: ForeignArchive, work: Path) -> Outcome:
    return _extracted(archive, work, _BSDTAR)


def _umoci(archive: ForeignArchive, work: Path) -> Outcome:
    """Unpack it as the only layer of an image. umoci supports only gzip."""
    content = (
        layer(raw=b"", compression="gzip", blob=archive.blob)
        if archive.plain is None
        else layer(raw=archive.plain)
    )
    return _unpacked(write_layout(work / "layout", {"test": image([content])}), work)


TOOLS: Mapping[str, Callable[[ForeignArchive, Path], Outcome]] = {
    GNU_TAR: _gnu_tar,
    BSDTAR: _bsdtar,
    UMOCI: _umoci,
}
"""The result of each tool for an archive, in a scratch directory."""


def _extracted(archive: ForeignArchive, work: Path, command: tuple[str, ...]) -> Outcome:
    source, root = work / "archive", work / "root"
    source.write_bytes(archive.blob if archive.plain is None else archive.plain)
    root.mkdir(mode=0o755)
    return _run([*command, str(source)], root, root)


def _unpacked(layout: Path, work: Path) -> Outcome:
    bundle = work / "bundle"
    bundle.mkdir()
    command = ["prlimit", f"--fsize={_LARGEST_FILE}", "umoci", "unpack", "--image"]
    return _run([*command, f"{layout}:test", str(bundle / "b")], bundle, bundle / "b/rootfs")


def _run(command: list[str], directory: Path, root: Path) -> Outcome:
    started = time.time_ns() - 10**9
    shut_in = ["unshare", "--mount", "--propagation=private", "sh", "-c", _SHUT_IN, "-"]
    done = subprocess.run(
        [*shut_in, str(directory), *command],
        capture_output=True,
        check=False,
        timeout=_SECONDS,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    try:
        if done.returncode:
            return Refusal(done.stderr.decode(errors="replace").strip())
        return {path: _without_present_time(node, started) for path, node in scan(root).items()}
    finally:
        shutil.rmtree(directory)


def _without_present_time(node: Node, started: int) -> Node:
    """A node without its time if that is of the unpacking: the archive says nothing of it."""
    if node.mtime is not None and node.mtime > started:
        return dataclasses.replace(node, mtime=None)
    return node
