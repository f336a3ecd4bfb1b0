# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records for tests: whole and valid, and different in what the test gives."""

import hashlib
import itertools
import json
from typing import Any

from virtlayer.protocol.records import RecordKind, Stamp, record_file
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.catalog.recorded import Gone, Seen
from virtlayer.service.records.values import (
    BootKernel,
    BootRecord,
    BuiltLayer,
    ImageLayer,
    ImageRecord,
    LayerRecord,
    Record,
    VolumeRecord,
)


def digest(text: str) -> str:
    """The sha256 digest of a text."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def layer_name(text: str) -> str:
    """A name of a layer volume that belongs to this text."""
    return f"layer-{hashlib.sha256(text.encode()).hexdigest()}.qcow2"


def config(text: str = "") -> str:
    """A small config."""
    rootfs = {"type": "layers", "diff_ids": [digest(text)]}
    return json.dumps({"os": "linux", "architecture": "arm64", "rootfs": rootfs, "of": text})


def image_record(top: str = "top", **more: Any) -> ImageRecord:
    """An image of a base and two layers in one volume on it.

    Args:
        top: What this top volume and its config are called.
        more: Other fields.
    """
    layers = (
        ImageLayer(digest("a"), layer_name("base"), 1),
        ImageLayer(digest("b"), layer_name(top), 1),
        ImageLayer(digest("c"), layer_name(top), 1),
    )
    fields: dict[str, Any] = {
        "name": "demo",
        "source": "docker://registry.example/demo:1",
        "digest": digest(f"manifest {top}"),
        "image_id": digest(config(top)),
        "os": "linux",
        "architecture": "arm64",
        "variant": "v8",
        "config": config(top),
        "size": 1 << 26,
        "layers": layers,
        "volume": layer_name(top),
        "pulled_at": 1_795_000_000_000_000,
    }
    return ImageRecord(**fields | more)


def layer_record(
    name: str, *blobs: str, below: str = "", owners: Any = (), identity: bool | None = None
) -> LayerRecord:
    """A layer that was built from blobs of these names."""
    layers = tuple(BuiltLayer(digest(blob), digest(blob), 1, frozenset(owners)) for blob in blobs)
    return LayerRecord(name=layer_name(name), below=below, layers=layers, identity=identity)


def boot_record(top: str = "top", **more: Any) -> BootRecord:
    """What an image has to boot with, and the volumes made of it.

    Args:
        top: What the top volume of the image is called.
        more: Other fields.
    """
    kernel = BootKernel(
        version="6.1.0-test",
        has_initrd=True,
        kernel=f"kernel-{'a' * 64}",
        image_initrd=f"initrd-{'b' * 64}",
        own_initrd=f"initrd-{'c' * 64}",
        tools="d" * 64,
    )
    fields: dict[str, Any] = {
        "name": layer_name(top),
        "has_init": True,
        "os_id": "http://debian.org/debian/13",
        "kernels": (kernel, BootKernel(version="6.2.0-test", has_modules=False)),
    }
    return BootRecord(**fields | more)


def volume_record(name: str = "web", kind: RecordKind = RecordKind.DISK, **more: Any) -> Any:
    """A volume that was made of an image."""
    image = image_record()
    fields: dict[str, Any] = {
        "kind": kind,
        "name": name,
        "image": image.name,
        "source": image.source,
        "digest": image.digest,
        "config": image.config,
        "top": image.volume if kind is RecordKind.VOLUME else None,
    }
    return VolumeRecord(**fields | more)


_stamps = itertools.count(1)


async def remember(catalog: Catalog, pool: str, *records: Record) -> None:
    """Let a catalog have read records in a pool that may not exist."""
    await catalog.records.put(
        pool, [Seen(record, Stamp(next(_stamps), 0, 0)) for record in records]
    )


async def forget(catalog: Catalog, pool: str, kind: RecordKind, name: str) -> None:
    """Let a catalog have seen that a record was deleted."""
    await catalog.records.put(pool, [Gone(record_file(kind, name))])
