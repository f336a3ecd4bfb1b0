# SPDX-License-Identifier: LGPL-2.1-or-later
"""Manifests, indexes and configs, typed and bounded.

Formats: OCI image-spec v1.1 (manifest.md, image-index.md, config.md, descriptor.md, layer.md) and
Docker's "Image Manifest V 2, Schema 2". Everything here is untrusted.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from virtlayer.errors import MalformedLayer
from virtlayer.printable import printable
from virtlayer.service.source.digest import is_digest
from virtlayer.service.source.platform import NO_PLATFORM, Platform
from virtlayer.service.source.reference import Reference
from virtlayer.sizes import MIB, human_size

MANIFEST_LIMIT = 4 * MIB
CONFIG_LIMIT = 8 * MIB
_SIZE_LIMIT = 2**53
"""The proxy's numbers have JavaScript's range, and no blob is that large."""

MANIFEST_TYPES = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
INDEX_TYPES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
CONFIG_TYPES = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
LAYER_TYPES = frozenset(
    {
        *(f"{base}{suffix}" for base in (_OCI_LAYER, _OCI_FOREIGN) for suffix in ("", "+gzip")),
        *(f"{base}+zstd" for base in (_OCI_LAYER, _OCI_FOREIGN)),
        *(
            f"{base}{suffix}"
            for base in (_DOCKER_LAYER, _DOCKER_FOREIGN)
            for suffix in ("", ".gzip")
        ),
        f"{_DOCKER_LAYER}.zstd",
    }
)
"""Media types of layers that can be applied."""
_COMPRESSED_LAYER = re.compile(
    rf"(?:{'|'.join(map(re.escape, (_OCI_LAYER, _OCI_FOREIGN, _DOCKER_LAYER, _DOCKER_FOREIGN)))})"
    r"[+.]([a-z0-9]{1,20})"
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: the blob and its uncompressed content."""

    digest: str
    """The digest of the blob as the source sends it."""
    size: int
    """The size of the blob in bytes."""
    media_type: str
    diff_id: str
    """The digest of the uncompressed archive."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The description of a blob in a manifest (descriptor.md)."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str = ""
    """The artifact type, if this is not the manifest of an image with a file system."""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The fields of an image config that virtlayer uses."""

    os: str
    architecture: str
    variant: str | None
    raw: str
    """The JSON text, unchanged."""
    diff_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """One image for one platform."""

    reference: Reference
    digest: str
    """The digest of the image's own manifest, not of an index that refers to it."""
    image_id: str
    """The digest of the config."""
    platform: Platform
    config: ImageConfig
    layers: tuple[Layer, ...]
    """The layers, base first."""
    artifact_type: str = ""
    """The artifact type, if it is not an image with a file system. Then it has no platform and no
    config, and the uncompressed content of its layers is unknown."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One image of an index."""

    digest: str
    platform: Platform


@dataclass(frozen=True, slots=True)
class Index:
    """The index or manifest that a reference refers to."""

    digest: str
    """The digest of the index, or of the manifest if there is no index."""
    entries: tuple[IndexEntry, ...]
    """One entry per platform; empty if the reference refers directly to an image."""


def parse_manifest(content: bytes) -> Manifest:
    """Parse an OCI image manifest or a Docker schema 2 manifest.

    Raises:
        MalformedLayer: It violates its specification, or has layers that cannot be downloaded or
            read (foreign or encrypted layers).
    """
    table = _table(content, MANIFEST_LIMIT, "manifest")
    media_type = table.get("mediaType")
    if table.get("schemaVersion") != 2 or media_type not in (None, *MANIFEST_TYPES):
        raise MalformedLayer(
            f"The manifest has the unknown type {_shown(media_type)}; an image manifest is "
            "required."
        )
    config = _descriptor(table.get("config"), "config")
    is_artifact = config.media_type not in CONFIG_TYPES
    layers = table.get("layers")
    if not isinstance(layers, list) or not layers:
        raise MalformedLayer("The image has no layers, so it has no file system.")
    return Manifest(
        config,
        tuple(
            _usable(_descriptor(layer, f"layer {number}"), number, any_type=is_artifact)
            for number, layer in enumerate(layers, start=1)
        ),
        artifact_type=_artifact_type(table, config) if is_artifact else "",
    )


def parse_config(content: bytes) -> ImageConfig:
    """Parse an image config (config.md, or Docker's, which has the same keys).

    Raises:
        MalformedLayer: It violates its specification.
    """
    table = _table(content, CONFIG_LIMIT, "config")
    rootfs = table.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise MalformedLayer('The image config has no rootfs of type "layers".')
    diff_ids = rootfs.get("diff_ids")
    if not isinstance(diff_ids, list) or not all(
        isinstance(diff_id, str) and is_digest(diff_id) for diff_id in diff_ids
    ):
        raise MalformedLayer("The diff_ids in the image config are not a list of digests.")
    variant = table.get("variant")
    return ImageConfig(
        os=_word(table, "os"),
        architecture=_word(table, "architecture"),
        variant=_word(table, "variant") if variant else None,
        raw=content.decode(),
        diff_ids=tuple(diff_ids),
    )


def parse_index(content: bytes) -> tuple[IndexEntry, ...] | None:
    """Parse an OCI index or a Docker manifest list; None if it is not one.

    Entries without a platform and entries for ``unknown`` (attestations) are omitted.

    Raises:
        MalformedLayer: It violates its specification.
    """
    table = _table(content, MANIFEST_LIMIT, "manifest")
    media_type, manifests = table.get("mediaType"), table.get("manifests")
    if media_type not in (None, *INDEX_TYPES) or (media_type is None and manifests is None):
        return None
    if not isinstance(manifests, list):
        raise MalformedLayer("The image index has no list of manifests.")
    entries = []
    for number, item in enumerate(manifests, start=1):
        descriptor = _descriptor(item, f"index entry {number}")
        platform = _platform(item.get("platform"))
        if platform is not None and platform.os != "unknown":
            entries.append(IndexEntry(descriptor.digest, platform))
    return tuple(entries)


def is_schema_1(content: bytes) -> bool:
    """Whether this is a manifest of Docker's schema 1.

    Raises:
        MalformedLayer: It is not a JSON object.
    """
    return _table(content, MANIFEST_LIMIT, "manifest").get("schemaVersion") == 1


def assemble(reference: Reference, digest: str, manifest: Manifest, config: ImageConfig) -> Image:
    """Create an image from its manifest and config.

    Raises:
        MalformedLayer: The manifest and the config do not match.
    """
    if len(manifest.layers) != len(config.diff_ids):
        raise MalformedLayer(
            f"The manifest has {len(manifest.layers)} layers, but the image config has "
            f"{len(config.diff_ids)} diff_ids. The image is corrupt at the source. Push it again."
        )
    return Image(
        reference=reference,
        digest=digest,
        image_id=manifest.config.digest,
        platform=Platform(config.os, config.architecture, config.variant),
        config=config,
        layers=tuple(
            Layer(layer.digest, layer.size, layer.media_type, diff_id)
            for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
        ),
    )


def assemble_artifact(reference: Reference, digest: str, manifest: Manifest) -> Image:
    """Create an image from the manifest of an artifact."""
    return Image(
        reference=reference,
        digest=digest,
        image_id=manifest.config.digest,
        platform=NO_PLATFORM,
        config=ImageConfig(os="", architecture="", variant=None, raw="{}", diff_ids=()),
        layers=tuple(
            Layer(layer.digest, layer.size, layer.media_type, "") for layer in manifest.layers
        ),
        artifact_type=manifest.artifact_type,
    )


def _artifact_type(table: Mapping[str, object], config: Descriptor) -> str:
    """Return the type of an artifact (manifest.md, "Guidelines for Artifact Usage")."""
    given = table.get("artifactType")
    return given if isinstance(given, str) and given else config.media_type


def _usable(layer: Descriptor, number: int, *, any_type: bool) -> Descriptor:
    if layer.media_type.endswith("+encrypted"):
        raise MalformedLayer(
            f"Layer {number} ({layer.digest}) is encrypted, which virtlayer does not support. Use "
            "an unencrypted image."
        )
    if not any_type and layer.media_type not in LAYER_TYPES:
        if compressed := _COMPRESSED_LAYER.fullmatch(layer.media_type):
            raise MalformedLayer(
                f"Layer {number} ({layer.digest}) has the unsupported compression {compressed[1]}. "
                "Push the image with gzip or zstd."
            )
        raise MalformedLayer(
            f"Layer {number} ({layer.digest}) has the unknown type {_shown(layer.media_type)}."
        )
    if layer.urls:
        raise MalformedLayer(
            f"Layer {number} ({layer.digest}) is a foreign layer, which is not in the registry. "
            "virtlayer does not download from its URLs."
        )
    return layer


def _descriptor(value: object, place: str) -> Descriptor:
    if not isinstance(value, dict):
        raise MalformedLayer(f"The {place} of the manifest is not a descriptor.")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    urls = value.get("urls") or []
    if not isinstance(media_type, str):
        raise MalformedLayer(f"The {place} of the manifest has no media type.")
    if not isinstance(digest, str) or not is_digest(digest):
        raise MalformedLayer(f"The {place} of the manifest has no sha256 or sha512 digest.")
    if type(size) is not int or not 0 <= size <= _SIZE_LIMIT:
        raise MalformedLayer(f"The {place} of the manifest has no valid size.")
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise MalformedLayer(f"The {place} of the manifest has no valid urls.")
    return Descriptor(media_type, digest, size, tuple(urls))


def _platform(value: object) -> Platform | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise MalformedLayer("A platform in the image index is not an object.")
    variant = _word(value, "variant") if value.get("variant") else None
    return Platform(_word(value, "os"), _word(value, "architecture"), variant)


def _word(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 64:
        raise MalformedLayer(
            f'"{key}" is missing or invalid in the manifest or config of the image.'
        )
    return value


def _table(content: bytes, limit: int, what: str) -> Mapping[str, Any]:
    if len(content) > limit:
        raise MalformedLayer(f"The image {what} is larger than {human_size(limit)}.")
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedLayer(f"The image {what} is not JSON.") from error
    if not isinstance(value, dict):
        raise MalformedLayer(f"The image {what} is not a JSON object.")
    return cast("Mapping[str, Any]", value)


def _shown(value: object) -> str:
    return f'"{printable(value[:100]) if isinstance(value, str) else type(value).__name__}"'
