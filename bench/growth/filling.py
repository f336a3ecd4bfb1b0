# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fills a pool with copies of an image that was pulled into it; thousands of pulls take too long.

Each copy has the base volume of the image, and a top volume of its own: a copy of the image's, a
qcow2 overlay as virtlayer has written it, which has the same content. The records are those of the
image with other digests and names, composed by virtlayer's own module.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.pool_content import OWN

from virtlayer.protocol.records import record_file
from virtlayer.service.chain.identity import volume_id, volume_name
from virtlayer.service.records.json_files import compose, parse
from virtlayer.service.records.values import ImageRecord, LayerRecord, Record

_PULLED_AT = 1_795_000_000_000_000


@dataclass(frozen=True, slots=True)
class Filling:
    """What a pool was filled with.

    Attributes:
        images: The names of the images.
        tops: Their top volumes.
        orphans: Layer volumes that belong to no image.
    """

    images: tuple[str, ...]
    tops: tuple[str, ...]
    orphans: tuple[str, ...]


def fill(pool: Path, template: str, images: int, orphans: int) -> Filling:
    """Add copies of an image to a pool.

    They appear at once: a service that reads the pool meanwhile finds nothing.

    Args:
        pool: The directory of the pool.
        template: The name of an image there, of two layers at least.
        images: How many copies.
        orphans: How many more of the top volume, without an image.
    """
    records = list(_records(pool / OWN))
    [image] = (one for one in records if isinstance(one, ImageRecord) and one.name == template)
    [top] = (one for one in records if isinstance(one, LayerRecord) and one.name == image.volume)
    written = pool.parent / f"{pool.name}-written"
    written.mkdir()
    layers = [_layer(top, number) for number in range(images + orphans)]
    copies = [_image(image, layer, number) for number, layer in enumerate(layers[:images])]
    for layer in layers:
        _copy(pool / top.name, written / layer.name)
    for layer in layers:
        _write(pool / OWN, written, layer)
    for copy in copies:
        _write(pool / OWN, written, copy)
    for path in sorted(written.iterdir(), key=lambda path: path.suffix == ".json"):
        path.rename((pool / OWN if path.suffix == ".json" else pool) / path.name)
    written.rmdir()
    names = [layer.name for layer in layers]
    return Filling(
        tuple(copy.name for copy in copies), tuple(names[:images]), tuple(names[images:])
    )


def _records(directory: Path) -> Iterator[Record]:
    for path in directory.glob("*.json"):
        yield parse(path.name, path.read_bytes())


def _layer(top: LayerRecord, number: int) -> LayerRecord:
    [built] = top.layers
    own = dataclasses.replace(
        built, diff_id=_digest(f"diff {number}"), blob=_digest(f"blob {number}")
    )
    name = volume_name(volume_id(top.below, [(own.diff_id, own.blob)]), ".qcow2")
    return dataclasses.replace(top, name=name, layers=(own,))


def _image(image: ImageRecord, layer: LayerRecord, number: int) -> ImageRecord:
    [built] = layer.layers
    config = json.loads(image.config)
    config["rootfs"]["diff_ids"][-1] = built.diff_id
    text = json.dumps(config)
    last = dataclasses.replace(image.layers[-1], diff_id=built.diff_id, volume=layer.name)
    name = f"copy-{number}:1"
    return dataclasses.replace(
        image,
        name=name,
        source=f"{image.source.rpartition('/')[0]}/{name}",
        digest=_digest(f"manifest {number}"),
        config=text,
        image_id=_digest(text),
        layers=(*image.layers[:-1], last),
        volume=layer.name,
        pulled_at=_PULLED_AT + number,
    )


def _copy(source: Path, target: Path) -> None:
    """Copy a volume with its holes, owner and mode."""
    info = source.stat()
    with source.open("rb") as reader, target.open("xb") as writer:
        start = 0
        while start < info.st_size:
            try:
                start = os.lseek(reader.fileno(), start, os.SEEK_DATA)
            except OSError:  # Nothing but a hole is left.
                break
            end = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            reader.seek(start)
            writer.seek(start)
            while start < end:
                start += writer.write(reader.read(min(end - start, 1 << 20)))
        writer.truncate(info.st_size)
    shutil.copystat(source, target)
    os.chown(target, info.st_uid, info.st_gid)


def _write(like: Path, directory: Path, record: Record) -> None:
    path = directory / record_file(record.kind, record.name)
    path.write_bytes(compose(record))
    path.chmod(0o600)
    info = like.stat()
    os.chown(path, info.st_uid, info.st_gid)


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
