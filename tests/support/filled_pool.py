# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pool with many images, without the time that pulling them takes.

Records and layer volumes are written as virtlayer writes them, but the volumes are empty: their
headers name size and backing volume, and their files take the space that the test gives.

::

    debian = ("debian", 78 << 20)
    fill(pool, {"debian:13": [debian], "web:1": [debian, ("web", 9 << 20)]})
"""

import os
import struct
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from tests.support.records import digest, image_record, layer_name, layer_record
from virtlayer.protocol.records import RecordKind, record_file
from virtlayer.service.records.json_files import compose
from virtlayer.service.records.values import ImageLayer, Record

_SIZE = 1 << 26
"""The virtual size, that of ``image_record``."""
_QCOW2_BACKING_FORMAT = 0xE2792ACA


def fill(pool: Path, images: Mapping[str, Sequence[tuple[str, int]]]) -> None:
    """Add images to a pool whose volumes libvirt reads afterwards.

    Args:
        pool: The directory of the pool.
        images: For each image its layers, base first: a name, which together with those of the
            layers below identifies the layer, and the bytes that it takes.
    """
    records = pool / ".virtlayer"
    records.mkdir(exist_ok=True)
    for name, layers in images.items():
        texts = list(accumulate((layer for layer, _ in layers), "{} {}".format))
        volumes = [layer_name(text) for text in texts]
        for number, (text, (layer, taken)) in enumerate(zip(texts, layers, strict=True)):
            if not (pool / volumes[number]).exists():
                below = volumes[number - 1] if number else ""
                _write_volume(pool / volumes[number], below, taken)
                _write(records, layer_record(text, layer, below=_id(below)))
        image = image_record(
            name,
            name=name,
            source=f"docker://docker.io/library/{name}",
            layers=tuple(
                ImageLayer(digest(layer), volume, taken // 3 + 1)
                for (layer, taken), volume in zip(layers, volumes, strict=True)
            ),
            volume=volumes[-1],
        )
        _write(records, image)


def _id(volume: str) -> str:
    """The id of a layer volume, which its name contains."""
    return volume.removeprefix("layer-").removesuffix(".qcow2")


def _write(records: Path, record: Record) -> None:
    (records / record_file(RecordKind(record.kind), record.name)).write_bytes(compose(record))


def _write_volume(path: Path, below: str, taken: int) -> None:
    """Write the header of a qcow2 image, as its specification describes it; allocate the rest."""
    l1_size, l1_table, refcount_table, refcount_clusters = 1, 3 << 16, 1 << 16, 1
    extensions = struct.pack(">II8s", _QCOW2_BACKING_FORMAT, 5, b"qcow2") if below else b""
    extensions += bytes(8)
    offset = 104 + len(extensions) if below else 0
    header = struct.pack(">4sIQII", b"QFI\xfb", 3, offset, len(below), 16)
    header += struct.pack(">QII", _SIZE, 0, l1_size)
    header += struct.pack(">QQIIQ", l1_table, refcount_table, refcount_clusters, 0, 0)
    header += struct.pack(">QQQII", 0, 0, 0, 4, 104)
    with path.open("xb") as file:
        file.write(header + extensions + below.encode())
        os.posix_fallocate(file.fileno(), 0, max(taken, 4 << 16))
    path.chmod(0o440)
