# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes that the real customizer changes, looked into through the kernel."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.support.images import Entry, layer
from tests.support.keeper import LocalPrograms
from tests.support.privileges import call_as_root
from tests.support.trees import mounted
from tests.support.volumes import assert_sound, build_volume, served
from virtlayer.protocol.customization import Customization
from virtlayer.service.workers.customization import CustomizationRequest, CustomizationWorker
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings
from virtlayer.sizes import MIB


async def customize(volume: Path, customization: Customization) -> bool:
    """Customize a volume; return whether an identity was replaced."""
    async with (
        served(volume) as connection,
        CustomizationWorker.started(
            LocalPrograms(), LayerSettings(), fresh_identity=customization.fresh_identity
        ) as worker,
    ):
        replaced = await worker.customize(
            CustomizationRequest(
                nbd=connection, customization=customization, description='The image "demo:1"'
            )
        )
    assert_sound(volume)
    return replaced


async def customized(
    worker: LayerWorker, volume: Path, entries: Iterable[Entry], customization: Customization
) -> Path:
    """Make a volume of one layer, and customize it."""
    await build_volume(worker, volume, [layer(*entries)], size=64 * MIB)
    await customize(volume, customization)
    return volume


def read_files(volume: Path, *paths: str) -> list[tuple[bytes, int, int, int]]:
    """Content, mode, owner and group of files in a volume."""
    return call_as_root(_read_as_root, volume, *paths)


def _read_as_root(volume: Path, *paths: str) -> list[tuple[bytes, int, int, int]]:
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="mnt") as point,
        mounted(volume, Path(point)) as root,
    ):
        for path in paths:
            info = (root / path).lstat()
            content = b"" if (root / path).is_dir() else (root / path).read_bytes()
            found.append((content, info.st_mode & 0o7777, info.st_uid, info.st_gid))
    return found
