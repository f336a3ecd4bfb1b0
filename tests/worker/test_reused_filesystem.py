# SPDX-License-Identifier: LGPL-2.1-or-later
"""A worker that goes on with the file system that it has just written, instead of opening it."""

import os
from pathlib import Path

import pytest

from tests.support.archives import (
    archive,
    directory,
    entry,
    hardlink,
    named,
    pax,
    sparse_1_0,
    symlink,
)
from tests.support.images import LayerContent, layer
from tests.support.keeper import LocalPrograms
from tests.support.volumes import SIZE, apply_layer, assert_sound, fingerprint, tree_of
from virtlayer.errors import Internal, MalformedLayer
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings


def _layer(*parts: bytes) -> LayerContent:
    return layer(raw=archive(*parts), compression="none")


def _names(count: int) -> list[str]:
    return [f"{number:05}-{'n' * (number % 70)}" for number in range(count)]


_LAYERS = [
    _layer(
        directory("d"),
        *(entry(f"d/{name}", name.encode() * 90) for name in _names(2500)),
        sparse_1_0("holes", 9_000_000, [(n * 40960, 5000) for n in range(200)], b"s" * 1_000_000),
        entry("large", os.urandom(9_000_000)),
        hardlink("large-too", "large"),
        pax({"SCHILY.xattr.user.large": "v" * 3000}) + entry("attributes"),
        symlink("long", "t" * 90),
    ),
    _layer(entry("srv/file", b"1" * 10_240)),
    # Holes among blocks and inodes, and a hash tree that becomes a list.
    _layer(*(named(f"d/.wh.{name}") for name in _names(2480)), named(".wh.large")),
    _layer(*(entry(f"e/{name}", name.encode() * 200) for name in _names(700)), entry("d/0", b"")),
    _layer(),
    _layer(named(".wh.holes"), named(".wh.attributes"), named(".wh.large-too"), directory("d")),
    _layer(entry("large", os.urandom(5_000_000)), entry("d/.wh..wh..opq"), entry("d/one", b"1")),
]


async def test_going_on_gives_the_same_bytes_as_opening_anew(
    worker: LayerWorker, tmp_path: Path
) -> None:
    kept, anew = tmp_path / "kept", tmp_path / "anew"
    for volume in (kept, anew):
        volume.touch()
        os.truncate(volume, SIZE)

    async with LayerWorker.started(LocalPrograms(), LayerSettings()) as other:
        for number, content in enumerate(_LAYERS):
            size = None if number else SIZE
            names = {"base": str(number - 1), "result": str(number)}
            one = await apply_layer(worker, kept, content, format_size=size, **names)
            two = await apply_layer(other, anew, content, format_size=size)
            assert_sound(kept)
            assert one == two
            assert fingerprint(kept) == fingerprint(anew)


async def _two_volumes(worker: LayerWorker, tmp_path: Path) -> tuple[Path, Path]:
    """The worker has written the one that comes second last, and called it ``two``."""
    volumes = tmp_path / "one", tmp_path / "two"
    for volume in volumes:
        volume.touch()
        os.truncate(volume, SIZE)
        content = _layer(entry(volume.name, b"1"))
        await apply_layer(worker, volume, content, format_size=SIZE, result=volume.name)
    return volumes


@pytest.mark.parametrize("base", ["one", None])
async def test_another_volume_is_opened(
    worker: LayerWorker, tmp_path: Path, base: str | None
) -> None:
    one, _ = await _two_volumes(worker, tmp_path)

    await apply_layer(worker, one, _layer(entry("new", b"1")), format_size=None, base=base)

    assert_sound(one)
    assert set(tree_of(one)) >= {b"one", b"new"}


async def test_state_of_a_refused_layer_is_discarded(worker: LayerWorker, tmp_path: Path) -> None:
    one, two = await _two_volumes(worker, tmp_path)
    wrong = _layer(entry("half", b"1"), hardlink("hard", "nowhere"))
    with pytest.raises(MalformedLayer):
        await apply_layer(worker, two, wrong, format_size=None, base="two", result="three")

    for base in ("two", "three"):
        await apply_layer(worker, one, _layer(entry(base, b"1")), format_size=None, base=base)

    assert_sound(one)
    assert b"half" not in tree_of(one)


async def test_a_volume_of_another_size_is_not_gone_on_with(
    worker: LayerWorker, tmp_path: Path
) -> None:
    _, two = await _two_volumes(worker, tmp_path)
    os.truncate(two, 2 * SIZE)

    with pytest.raises(Internal):
        await apply_layer(worker, two, _layer(), format_size=None, base="two")
