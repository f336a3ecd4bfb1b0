# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test images, built byte by byte, so that a test can also make what no real builder would.

::

    base = layer(directory("etc"), file("etc/motd", b"hello\\n"))
    top = layer(whiteout("etc/motd"), compression="zstd")
    demo = image([base, top])
    write_layout(tmp_path / "demo", {"1": demo})          # oci:<tmp_path>/demo:1
    registry.store(demo, "demo:1")                        # see tests/support/registry.py

What is wrong on purpose is given by keyword: ``layer(..., diff_id=…)``, ``layer(..., digest=…)``,
``layer(..., blob=…)``, ``layer(..., urls=…)``, ``layer(..., media_type=…)``.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import zstandard

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MTIME = 1_700_000_000.123456789
"""The time of an entry that names no other; nanoseconds survive only in part (a float)."""

Compression = Literal["gzip", "zstd", "none"]


def digest_of(content: bytes) -> str:
    """The sha256 digest, as manifests write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# --- entries of an archive -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One archive member; ``info`` may be changed at will before the archive is made."""

    info: tarfile.TarInfo
    data: bytes = b""


class EntryOptions(TypedDict, total=False):
    """Arguments that the functions below pass to ``entry``."""

    uid: int
    gid: int
    mtime: float | str
    xattrs: Mapping[str, bytes]


def entry(
    name: str,
    kind: bytes,
    data: bytes = b"",
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: float | str = MTIME,
    linkname: str = "",
    device: tuple[int, int] = (0, 0),
    xattrs: Mapping[str, bytes] | None = None,
) -> Entry:
    """Any entry; names may carry non-UTF-8 bytes as surrogate escapes (``os.fsdecode``).

    Args:
        name: The path in the archive, as given (no normalisation).
        kind: A type flag of ``tarfile``, such as ``tarfile.SYMTYPE``.
        data: The content of a file.
        mode: Permission bits with setuid, setgid and sticky.
        uid: Owner; beyond 2097151 it goes to a PAX record.
        gid: Group, the same.
        mtime: Seconds; as a string it is put into a PAX record as it is ("1.123456789").
        linkname: The target of a symlink or hard link.
        device: Major and minor number.
        xattrs: Extended attributes, written as ``SCHILY.xattr.*``.
    """
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode, info.uid, info.gid = mode, uid, gid
    info.size = len(data)
    info.linkname = linkname
    info.devmajor, info.devminor = device
    info.pax_headers = {
        # A value is bytes; surrogate escapes carry what is not UTF-8 through tarfile's strings.
        f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape")
        for key, value in (xattrs or {}).items()
    }
    if isinstance(mtime, str):
        info.pax_headers["mtime"] = mtime
        info.mtime = int(float(mtime))
    else:
        info.mtime = mtime
    return Entry(info, data)


def file(name: str, data: bytes = b"", *, mode: int = 0o644, **more: Unpack[EntryOptions]) -> Entry:
    """A regular file."""
    return entry(name, tarfile.REGTYPE, data, mode=mode, **more)


def directory(name: str, *, mode: int = 0o755, **more: Unpack[EntryOptions]) -> Entry:
    """A directory."""
    return entry(name, tarfile.DIRTYPE, mode=mode, **more)


def symlink(name: str, target: str, **more: Unpack[EntryOptions]) -> Entry:
    """A symbolic link."""
    return entry(name, tarfile.SYMTYPE, mode=0o777, linkname=target, **more)


def hardlink(name: str, target: str, *, mode: int = 0o644, **more: Unpack[EntryOptions]) -> Entry:
    """A hard link to an entry of this layer or of a lower one."""
    return entry(name, tarfile.LNKTYPE, linkname=target, mode=mode, **more)


def device(
    name: str,
    kind: Literal["c", "b"],
    major: int,
    minor: int,
    *,
    mode: int = 0o644,
    **more: Unpack[EntryOptions],
) -> Entry:
    """A character or block device."""
    flag = tarfile.CHRTYPE if kind == "c" else tarfile.BLKTYPE
    return entry(name, flag, device=(major, minor), mode=mode, **more)


def fifo(name: str, *, mode: int = 0o644, **more: Unpack[EntryOptions]) -> Entry:
    """A FIFO."""
    return entry(name, tarfile.FIFOTYPE, mode=mode, **more)


def whiteout(name: str) -> Entry:
    """The removal of ``name`` from the layers below (OCI image layer, "Whiteouts")."""
    parent, _, base = name.rpartition("/")
    return file(f"{parent}/.wh.{base}" if parent else f".wh.{base}")


def opaque(name: str) -> Entry:
    """The removal of everything that lower layers have in the directory ``name``."""
    return file(f"{name}/.wh..wh..opq")


def tar(*entries: Entry) -> bytes:
    """An uncompressed archive in PAX format."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape"
    ) as archive:
        for item in entries:
            archive.addfile(item.info, io.BytesIO(item.data))
    return buffer.getvalue()


# --- layers, images, indexes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LayerContent:
    """One layer: the blob that is served, and what the manifest and the config say about it."""

    blob: bytes
    media_type: str
    digest: str
    size: int
    diff_id: str
    urls: tuple[str, ...] = ()


def layer(
    *entries: Entry,
    raw: bytes | None = None,
    compression: Compression = "gzip",
    media_type: str | None = None,
    diff_id: str | None = None,
    digest: str | None = None,
    blob: bytes | None = None,
    size: int | None = None,
    urls: Sequence[str] = (),
) -> LayerContent:
    """A layer from entries, or from the bytes of an archive.

    Args:
        entries: The archive's members, in order.
        raw: An uncompressed archive instead of entries.
        compression: How the blob is compressed; the OCI media type follows from it.
        media_type: Another media type, right or wrong.
        diff_id: A wrong diff id for the config.
        digest: A wrong digest for the manifest; the blob is served under it.
        blob: Other bytes to serve; digest and size still describe the right ones.
        size: A wrong size for the manifest.
        urls: Foreign locations, as a foreign layer has them.
    """
    archive = tar(*entries) if raw is None else raw
    packed = compress(archive, compression)
    suffix = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}[compression]
    return LayerContent(
        blob=packed if blob is None else blob,
        media_type=media_type or OCI_LAYER + suffix,
        digest=digest or digest_of(packed),
        size=len(packed) if size is None else size,
        diff_id=diff_id or digest_of(archive),
        urls=tuple(urls),
    )


def compress(content: bytes, compression: Compression) -> bytes:
    """Deterministic compression."""
    match compression:
        case "gzip":
            return gzip.compress(content, compresslevel=1, mtime=0)
        case "zstd":
            return zstandard.ZstdCompressor(level=1).compress(content)
        case "none":
            return content


@dataclass(frozen=True, slots=True)
class Content:
    """An image or an index: its manifest, and every blob and manifest below it by digest."""

    manifest: bytes
    media_type: str
    platform: str = ""
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    """Config and layers: digest → bytes (which need not fit each other)."""
    manifests: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    """The images of an index: digest → media type, bytes."""

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of(self.manifest)

    @property
    def config_digest(self) -> str:
        """The digest of the config: the image id (not of an index)."""
        return str(json.loads(self.manifest)["config"]["digest"])

    @property
    def config(self) -> bytes:
        """The config (not of an index)."""
        return self.blobs[self.config_digest]

    @property
    def layer_digests(self) -> list[str]:
        """The digests of the layers' blobs, base first (not of an index)."""
        return [layer["digest"] for layer in json.loads(self.manifest)["layers"]]


def image(
    layers: Iterable[LayerContent],
    *,
    platform: str = "linux/amd64",
    docker: bool = False,
    config: Mapping[str, object] | None = None,
    config_media_type: str | None = None,
    diff_ids: Sequence[str] | None = None,
) -> Content:
    """An image of layers, base first.

    Args:
        layers: Base first.
        platform: ``os/architecture[/variant]``.
        docker: Docker's schema 2 instead of OCI (and its media type for gzip layers).
        config: Keys that replace or extend the config's.
        config_media_type: Another media type for the config.
        diff_ids: Other diff ids than the layers', for a config that does not fit.
    """
    all_layers = list(layers)
    system, architecture, *variant = platform.split("/")
    settings: dict[str, object] = {
        "architecture": architecture,
        "os": system,
        "created": "2023-11-14T22:13:20Z",
        "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"]},
        "history": [
            {"created": "2023-11-14T22:13:20Z", "created_by": f"layer {number}"}
            for number in range(len(all_layers))
        ],
        "rootfs": {
            "type": "layers",
            "diff_ids": [item.diff_id for item in all_layers] if diff_ids is None else diff_ids,
        },
    }
    if variant:
        settings["variant"] = variant[0]
    config_bytes = encode(settings | dict(config or {}))
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": {
            "mediaType": config_media_type or (DOCKER_CONFIG if docker else OCI_CONFIG),
            "digest": digest_of(config_bytes),
            "size": len(config_bytes),
        },
        "layers": [_descriptor(item, docker=docker) for item in all_layers],
    }
    return Content(
        manifest=encode(manifest),
        media_type=str(manifest["mediaType"]),
        platform=platform,
        blobs={digest_of(config_bytes): config_bytes}
        | {item.digest: item.blob for item in all_layers},
    )


def index(images: Iterable[Content], *, docker: bool = False) -> Content:
    """An index (with ``docker``, a manifest list) of images for several platforms."""
    all_images = list(images)
    entries = []
    for item in all_images:
        system, architecture, *variant = item.platform.split("/")
        platform = {"os": system, "architecture": architecture}
        if variant:
            platform["variant"] = variant[0]
        entries.append(
            {
                "mediaType": item.media_type,
                "digest": item.digest,
                "size": len(item.manifest),
                "platform": platform,
            }
        )
    media_type = DOCKER_LIST if docker else OCI_INDEX
    return Content(
        manifest=encode({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}),
        media_type=media_type,
        blobs={digest: blob for item in all_images for digest, blob in item.blobs.items()},
        manifests={item.digest: (item.media_type, item.manifest) for item in all_images},
    )


def encode(value: object) -> bytes:
    """Deterministic JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def write_layout(path: Path, contents: Mapping[str, Content]) -> Path:
    """Write an OCI image layout directory of tagged contents; return its path."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))
    entries = []
    for tag, content in contents.items():
        entries.append(
            {
                "mediaType": content.media_type,
                "digest": content.digest,
                "size": len(content.manifest),
                "annotations": {"org.opencontainers.image.ref.name": tag},
            }
        )
        for digest, blob in all_blobs(content).items():
            algorithm, _, hexadecimal = digest.partition(":")
            target = path / "blobs" / algorithm / hexadecimal
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(blob)
    (path / "index.json").write_bytes(
        encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    )
    return path


def all_blobs(content: Content) -> dict[str, bytes]:
    """Blobs and manifests alike, by digest, as a layout's ``blobs`` has them."""
    return (
        dict(content.blobs)
        | {digest: manifest for digest, (_, manifest) in content.manifests.items()}
        | {content.digest: content.manifest}
    )


def write_docker_archive(path: Path, name: str, layers: Sequence[LayerContent]) -> Path:
    """Write what ``docker save`` writes: an archive with uncompressed layers.

    Args:
        path: The archive to write.
        name: The image's ``repository:tag``.
        layers: Made with ``compression="none"``.
    """
    config = next(
        blob for digest, blob in image(layers).blobs.items() if digest not in _digests(layers)
    )
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    names = [f"{item.diff_id.partition(':')[2]}.tar" for item in layers]
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": names}]
    path.write_bytes(
        tar(
            *(file(name, item.blob) for name, item in zip(names, layers, strict=True)),
            file(config_name, config),
            file("manifest.json", encode(manifest)),
        )
    )
    return path


def write_linked_docker_archive(
    path: Path, base: LayerContent, top: LayerContent, *, target: str = "first"
) -> Path:
    """Write an archive of two images, the second of which has the first one's layer by a symlink.

    Args:
        path: The archive to write.
        base: The only layer of ``linked:1``, and the first one of ``linked:2``.
        top: The second one of ``linked:2``.
        target: The directory of the layer that the symlink leads to: ``first`` or ``second``.
    """
    configs = [image(layers).config for layers in ([base], [base, top])]
    names = [f"{digest_of(config).partition(':')[2]}.json" for config in configs]
    layers = [["first/layer.tar"], ["link/layer.tar", "second/layer.tar"]]
    manifest = [
        {"Config": name, "RepoTags": [f"linked:{number}"], "Layers": layers[number - 1]}
        for number, name in enumerate(names, start=1)
    ]
    path.write_bytes(
        tar(
            file("first/layer.tar", base.blob),
            symlink("link/layer.tar", f"../{target}/layer.tar"),
            file("second/layer.tar", top.blob),
            *(file(name, config) for name, config in zip(names, configs, strict=True)),
            file("manifest.json", encode(manifest)),
        )
    )
    return path


def _digests(layers: Iterable[LayerContent]) -> set[str]:
    return {item.digest for item in layers}


def _descriptor(item: LayerContent, *, docker: bool) -> dict[str, object]:
    media_type = item.media_type
    if docker and media_type == f"{OCI_LAYER}+gzip":
        media_type = DOCKER_LAYER
    descriptor: dict[str, object] = {
        "mediaType": media_type,
        "digest": item.digest,
        "size": item.size,
    }
    if item.urls:
        descriptor["urls"] = list(item.urls)
    return descriptor


OCI_EMPTY = "application/vnd.oci.empty.v1+json"


def artifact(
    files: Iterable[LayerContent], *, artifact_type: str = "application/vnd.unknown.artifact.v1"
) -> Content:
    """An artifact, as ``oras push`` makes it (manifest.md, "Guidelines for Artifact Usage").

    Args:
        files: Its files; ``layer(raw=…, compression="none", media_type=…)`` makes one.
        artifact_type: What the manifest calls it.
    """
    made = image(files, config_media_type=OCI_EMPTY)
    empty = b"{}"
    manifest = json.loads(made.manifest)
    config = {"mediaType": OCI_EMPTY, "digest": digest_of(empty), "size": len(empty)}
    return dataclasses.replace(
        made,
        manifest=encode(manifest | {"artifactType": artifact_type, "config": config}),
        blobs=dict(made.blobs) | {digest_of(empty): empty},
    )
