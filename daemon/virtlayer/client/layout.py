# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts an image in a directory to the members of an oci-archive that the service reads.

The service does not have the caller's rights, so it gets the files of the image: those of an OCI
layout (image-layout.md), or those of skopeo's transport ``dir``, converted to such a layout.
Nothing is verified here, because the service does so.
"""

import hashlib
import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtlayer.client.unreadable import unreadable
from virtlayer.errors import ImageNotFound, MalformedLayer

_LIMIT = 4 * 1024 * 1024
"""Limit in bytes of a manifest or index, as in the service."""
_DEEPEST = 4
"""Limit of nested indexes."""
_DIGEST = re.compile(r"(sha256|sha512):([0-9a-f]+)")
_POSITION = re.compile(r"@([0-9]{1,9})")
_NAME = "org.opencontainers.image.ref.name"
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive.

    Attributes:
        name: Its name in the archive.
        content: Its content, or the path of the file that has it.
    """

    name: str
    content: bytes | Path


def layout_members(directory: Path, tag: str | None) -> tuple[Member, ...]:
    """Return the files of one image of an OCI layout.

    Args:
        directory: The layout.
        tag: The image's name, or ``@`` and its position; None for the only one.

    Raises:
        ImageNotFound: A file is missing or unreadable, or there is no such image.
        MalformedLayer: A file has another format.
    """
    index = _parsed(_content(directory / "index.json"), directory / "index.json")
    entry = _chosen(index.get("manifests"), tag, directory)
    return _archive(entry, _Directory(directory, "blobs/{algorithm}/{hex}"))


def dir_members(directory: Path) -> tuple[Member, ...]:
    """Return the files of an image that skopeo's transport ``dir`` has written.

    Args:
        directory: The image.

    Raises:
        ImageNotFound: A file is missing or unreadable.
        MalformedLayer: A file has another format.
    """
    path = directory / "manifest.json"
    content = _content(path)
    manifest = _parsed(content, path)
    kind = _INDEX if "manifests" in manifest else _MANIFEST
    if manifest.get("schemaVersion") == 1:
        kind = _SCHEMA_1
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    media_type = manifest.get("mediaType") or kind
    entry = {"mediaType": media_type, "digest": digest, "size": len(content)}
    names = ("{hex}", "{hex}.manifest.json")
    return _archive(entry, _Directory(directory, *names, own={digest: content}))


class _Directory:
    """Blobs in a directory.

    Args:
        path: The directory.
        names: Patterns of the names of files that a blob can have.
        own: Content by digest that is not in the directory.
    """

    def __init__(self, path: Path, *names: str, own: Mapping[str, bytes] | None = None) -> None:
        self.path = path
        self._names = names
        self._own = own or {}

    def find(self, digest: str) -> bytes | Path | None:
        """Return a blob or its path; None if it does not exist."""
        if digest in self._own:
            return self._own[digest]
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise MalformedLayer(f"{self.path} names a blob by an invalid digest.")
        for name in self._names:
            path = self.path / name.format(algorithm=match[1], hex=match[2])
            try:
                if not stat.S_ISREG(path.stat().st_mode):
                    raise MalformedLayer(f"{path} is not a regular file.")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise unreadable(str(path), error, ImageNotFound) from error
            return path
        return None


def _archive(entry: Mapping[str, Any], directory: _Directory) -> tuple[Member, ...]:
    index = {"schemaVersion": 2, "manifests": [dict(entry)]}
    blobs = dict(_reachable(entry, directory, _DEEPEST))
    return (
        Member("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
        Member("index.json", json.dumps(index).encode()),
        *(
            Member(f"blobs/{digest.replace(':', '/')}", content)
            for digest, content in blobs.items()
        ),
    )


def _reachable(
    entry: Mapping[str, Any], directory: _Directory, depth: int
) -> Iterator[tuple[str, bytes | Path]]:
    """Return the blobs of a manifest or index. Some images of an index may be missing."""
    digest = str(entry.get("digest"))
    content = directory.find(digest)
    if content is None:
        if depth == _DEEPEST:
            raise ImageNotFound(f"{directory.path} lacks the manifest {digest}. Copy it again.")
        return
    if isinstance(content, Path):
        path, content = content, _content(content)
    else:
        path = directory.path / "manifest.json"
    yield digest, content
    table = _parsed(content, path)
    children = table.get("manifests")
    if isinstance(children, list) and depth:
        for child in _tables(children):
            yield from _reachable(child, directory, depth - 1)
        return
    for blob in _blobs_of(table):
        found = directory.find(blob)
        if found is None:
            raise ImageNotFound(f"{directory.path} lacks the blob {blob}. Copy the image again.")
        yield blob, found


def _blobs_of(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Return the digests of config and layers; for Docker's schema 1 only of the layers."""
    layers = manifest.get("layers")
    for one in _tables([manifest.get("config"), *(layers if isinstance(layers, list) else ())]):
        yield str(one.get("digest"))
    old = manifest.get("fsLayers")
    for one in _tables(old if isinstance(old, list) else ()):
        yield str(one.get("blobSum"))


def _chosen(entries: object, tag: str | None, directory: Path) -> Mapping[str, Any]:
    images = _tables(entries if isinstance(entries, list) else ())
    if tag is None:
        if len(images) != 1:
            raise ImageNotFound(
                f"{directory} has {len(images)} images. Name one, for example oci:{directory}:TAG."
            )
        return images[0]
    if position := _POSITION.fullmatch(tag):
        found = images[int(position[1]) :][:1]
    else:
        found = [one for one in images if _name_of(one) == tag]
    if not found:
        raise ImageNotFound(f'{directory} has no image "{tag}". Check its name and tag.')
    return found[0]


def _name_of(entry: Mapping[str, Any]) -> object:
    annotations = entry.get("annotations")
    return annotations.get(_NAME) if isinstance(annotations, dict) else None


def _tables(values: object) -> list[Mapping[str, Any]]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise MalformedLayer(f"{path} is not a regular file.")
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise unreadable(str(path), error, ImageNotFound) from error
    if len(content) > _LIMIT:
        raise MalformedLayer(f"{path} is too large: the limit is 4 MiB.")
    return content


def _parsed(content: bytes, path: Path) -> Mapping[str, Any]:
    try:
        table: Any = json.loads(content)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise MalformedLayer(f"{path} is not a JSON object. The image is damaged; copy it again.")
    return table
