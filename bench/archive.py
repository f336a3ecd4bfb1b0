# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a layer of any size as a gzip blob, straight into a registry's storage."""

import contextlib
import hashlib
import random
import tarfile
import tempfile
import zlib
from collections.abc import Buffer, Iterator
from dataclasses import dataclass, field
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import IO, Protocol

from isal import isal_zlib
from tests.support.images import OCI_LAYER, LayerContent
from tests.support.registry import Registry

MTIME = 1_700_000_000
_GZIP = 16 + 15
"""The ``wbits`` of zlib for a gzip header."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer whose blob is in the registry's storage.

    Attributes:
        digest: Of the blob.
        diff_id: Of the archive.
        size: Bytes of the blob.
        unpacked: Bytes of the archive.
        entries: Members of the archive.
    """

    digest: str
    diff_id: str
    size: int
    unpacked: int
    entries: int

    def described(self) -> LayerContent:
        """As a manifest names it; the blob is not repeated."""
        return LayerContent(
            blob=b"",
            media_type=f"{OCI_LAYER}+gzip",
            digest=self.digest,
            size=self.size,
            diff_id=self.diff_id,
        )


class LayerWriter(RawIOBase):
    """Takes an archive's members and counts them; its tarfile writes into it."""

    def __init__(self, blob: IO[bytes], level: int) -> None:
        super().__init__()
        self._blob = blob
        self._compressor = _compressor(level)
        self._archive_hash, self._blob_hash = hashlib.sha256(), hashlib.sha256()
        self._unpacked = self._size = self._entries = 0
        # Closed in finish().
        self._archive = tarfile.open(None, "w|", self, format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, member: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        """Add a member, with a file's content."""
        self._archive.addfile(member, content)
        self._entries += 1

    def add_file(self, name: str, content: bytes) -> None:
        """Add a regular file of root's."""
        member = tarfile.TarInfo(name)
        member.size, member.mtime = len(content), MTIME
        self.add(member, BytesIO(content))

    def add_program(self, name: str, content: bytes) -> None:
        """Add a regular file of root's that everybody may execute."""
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = len(content), MTIME, 0o755
        self.add(member, BytesIO(content))

    def add_random_file(self, name: str, size: int) -> None:
        """Add a regular file that cannot be compressed."""
        member = tarfile.TarInfo(name)
        member.size, member.mtime = size, MTIME
        self.add(member, _Noise())

    def add_directory(self, name: str) -> None:
        """Add a directory of root's."""
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, MTIME
        self.add(member)

    def write(self, data: Buffer, /) -> int:
        """Take bytes of the archive; for tarfile."""
        piece = bytes(data)
        self._archive_hash.update(piece)
        self._unpacked += len(piece)
        self._store(self._compressor.compress(piece))
        return len(piece)

    def finish(self) -> Layer:
        """End the archive and the blob."""
        self._archive.close()
        self._store(self._compressor.flush())
        return Layer(
            digest=f"sha256:{self._blob_hash.hexdigest()}",
            diff_id=f"sha256:{self._archive_hash.hexdigest()}",
            size=self._size,
            unpacked=self._unpacked,
            entries=self._entries,
        )

    def _store(self, data: bytes) -> None:
        self._blob_hash.update(data)
        self._blob.write(data)
        self._size += len(data)


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _compressor(level: int) -> _Compressor:
    if level:
        return isal_zlib.compressobj(level, wbits=_GZIP)
    return zlib.compressobj(0, wbits=_GZIP)


class _Noise(BytesIO):
    """The same random bytes every time, without end."""

    def __init__(self) -> None:
        super().__init__()
        self._chance = random.Random(0)  # noqa: S311 -- the same every time

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        return self._chance.randbytes(size)


@dataclass(slots=True)
class PendingLayer:
    """A layer that is being written; ``layer`` is there when its context has ended."""

    writer: LayerWriter
    layer: Layer | None = None
    directories: set[str] = field(default_factory=set)
    """Those that it has already."""

    def finished(self) -> Layer:
        """The layer."""
        assert self.layer is not None
        return self.layer


@contextlib.contextmanager
def new_layer(registry: Registry, level: int = 1) -> Iterator[PendingLayer]:
    """Write a layer into the storage of a registry.

    Args:
        registry: Need not run.
        level: How hard to compress, 1 to 3. 0 stores: the compressors of builders do that with
            what cannot be compressed, while ISA-L codes it.
    """
    registry.storage.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=registry.storage, delete_on_close=False) as blob:
        pending = PendingLayer(LayerWriter(blob, level))
        yield pending
        pending.layer = pending.writer.finish()
        blob.flush()
        path = registry.blob_path(pending.layer.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.hardlink_to(Path(blob.name))
