# SPDX-License-Identifier: LGPL-2.1-or-later
"""The corpus: ``tars/`` with archives and ``images/`` with images, each below its repository."""

import binascii
import bz2
import contextlib
import gzip
import json
import lzma
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import zstandard

_UNSUPPORTED = {b"\xfd7zXZ\0": "xz", b"BZh": "bzip2"}
_DAMAGED = (OSError, EOFError, ValueError, lzma.LZMAError, zstandard.ZstdError)


@dataclass(frozen=True, slots=True)
class ForeignArchive:
    """One archive."""

    name: str
    """Its path below ``tars/``."""
    blob: bytes
    """The file, compressed or not."""
    plain: bytes | None
    """Uncompressed; None if the compressed data is damaged."""

    @property
    def unsupported(self) -> str:
        """Its compression, if that is one that layers cannot have; else nothing."""
        return next(
            (name for magic, name in _UNSUPPORTED.items() if self.blob.startswith(magic)), ""
        )

    def uncompressed(self) -> "ForeignArchive":
        """The same archive without compression."""
        return replace(self, blob=self.plain) if self.plain is not None else self


@dataclass(frozen=True, slots=True)
class ForeignImage:
    """One way to name an image."""

    name: str
    """As the reference, with a path below ``images/``."""
    reference: str


_DECODERS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"\x28\xb5\x2f\xfd": lambda data: b"".join(_frames(data)),
    b"\x50\x2a\x4d\x18": lambda data: b"".join(_frames(data)),
    b"\xfd7zXZ\0": lzma.decompress,
    b"BZh": bz2.decompress,
}


@contextlib.contextmanager
def unpacked(corpus: Path) -> Iterator[Path]:
    """The directory of a corpus that may still be an archive."""
    if corpus.is_dir():
        yield corpus
        return
    with tempfile.TemporaryDirectory(prefix="foreign") as directory:
        subprocess.run(["tar", "-xf", corpus.resolve()], cwd=directory, check=True)
        yield Path(directory)


def archives(corpus: Path) -> Iterator[ForeignArchive]:
    """Every archive, in the order of names."""
    root = corpus / "tars"
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = str(path.relative_to(root))
        blob = path.read_bytes()
        if path.suffix == ".uu":
            name, blob = name.removesuffix(".uu"), _uudecoded(blob)
        yield ForeignArchive(name, blob, _plain(blob))


def images(corpus: Path) -> Iterator[ForeignImage]:
    """Every reference to an image, in the order of names."""
    root = corpus / "images"
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root)
        if path.name == "index.json":
            for tag in dict.fromkeys(_layout_tags(path.read_bytes())):
                yield ForeignImage(f"oci:{name.parent}{tag}", f"oci:{path.parent}{tag}")
        elif ".tar" in path.suffixes and path.name != "rootfs.tar.gz":
            for transport, tag in _archive_tags(path):
                yield ForeignImage(f"{transport}:{name}{tag}", f"{transport}:{path}{tag}")


def _layout_tags(index: bytes) -> Iterator[str]:
    """Suffixes of the path of a layout: nothing, each name and each position."""
    yield ""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        for position, manifest in enumerate(json.loads(index)["manifests"]):
            annotations = manifest.get("annotations") or {}
            if tag := annotations.get("org.opencontainers.image.ref.name"):
                yield f":{tag}"
            yield f":@{position}"


def _archive_tags(path: Path) -> Iterator[tuple[str, str]]:
    """The transports that an archive may be for, and what can follow its path."""
    members: dict[str, bytes] = {}
    with contextlib.suppress(tarfile.TarError, OSError), tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name in ("index.json", "manifest.json"):
                content = archive.extractfile(member)
                members[member.name] = content.read() if content else b""
    if "index.json" in members:
        yield from (("oci-archive", tag) for tag in _layout_tags(members["index.json"]))
    if "manifest.json" in members or not members:
        yield "docker-archive", ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        for position, item in enumerate(json.loads(members["manifest.json"])):
            yield from (("docker-archive", f":{tag}") for tag in item["RepoTags"] or ())
            yield "docker-archive", f":@{position}"


def _plain(blob: bytes) -> bytes | None:
    for magic, decode in _DECODERS.items():
        if blob.startswith(magic):
            try:
                return decode(blob)
            except _DAMAGED:
                return None
    return blob


def _frames(data: bytes) -> Iterator[bytes]:
    context = zstandard.ZstdDecompressor(max_window_size=2**27)
    with context.stream_reader(data, read_across_frames=True) as reader:
        while piece := reader.read(2**20):
            yield piece


def _uudecoded(text: bytes) -> bytes:
    lines = text.split(b"\n")
    start = next(number for number, line in enumerate(lines) if line.startswith(b"begin "))
    pieces = []
    for line in lines[start + 1 :]:
        if line.startswith(b"end"):
            break
        pieces.append(binascii.a2b_uu(line))
    return b"".join(pieces)
