# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an image file is an overlay of, as qemu-img reads its header: for files outside pools."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import InUse
from virtlayer.programs import ProgramFailed, run

_SECONDS = 30.0
"""What reading one header may take: some file systems do not answer any more."""
_OVERLAY_MAGICS = (b"QFI\xfb", b"QED\0")
"""How files begin that can be overlays of a qcow2: qcow and qcow2, and qed. (A vmdk cannot.)"""


@dataclass(frozen=True, slots=True)
class Backing:
    """The image that a file is an overlay of.

    Attributes:
        path: The file.
        format: What the overlay says that it is; None if it does not say.
    """

    path: Path
    format: str | None


async def read_backing(path: Path, image_format: str | None) -> tuple[Backing, ...]:
    """Read what an image file is an overlay of: one file, or none, or, in odd setups, several.

    Args:
        path: The file. One that is not there is an overlay of nothing; but a device that is not
            there may be one that only this service does not see (PrivateDevices= in its unit).
        image_format: Its format; None lets qemu-img guess.

    Raises:
        InUse: It cannot be read. Whatever it may need must be left alone.
    """
    if image_format == "raw":
        return ()
    if not await asyncio.to_thread(path.exists):
        if path.is_relative_to("/dev"):
            raise InUse(
                f"It cannot be told what {path} is an overlay of, so nothing is removed: this "
                "service does not see that device. Let it (PrivateDevices=no in a drop-in for "
                "virtlayerd.service), or remove what refers to it."
            )
        return ()
    argv = ["qemu-img", "info", "--force-share", "--output=json"]
    if image_format is not None:
        argv += ["-f", image_format]
    try:
        async with asyncio.timeout(_SECONDS):
            described = json.loads(await run([*argv, "--", path]))
    except (ProgramFailed, TimeoutError, ValueError) as error:
        raise InUse(
            f"It cannot be told what {path} is an overlay of, so nothing is removed: "
            f"{str(error) or 'qemu-img takes too long'}. "
            "Make that file readable, or remove what refers to it."
        ) from error
    name = described.get("full-backing-filename") or described.get("backing-filename")
    if not name:
        return ()
    backing_format = described.get("backing-filename-format")
    return tuple(Backing(file, backing_format) for file in _files(name, path.parent))


def may_be_overlay(path: Path) -> bool:
    """Whether a file begins like an image that can be an overlay.

    Raises:
        InUse: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(4) in _OVERLAY_MAGICS
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InUse(
            f"It cannot be told what {path} is an overlay of, so nothing is removed: "
            f"{error.strerror}. Make that file readable, or start its pool."
        ) from error


def _files(name: str, directory: Path) -> Iterator[Path]:
    """The files that a backing name means (qemu's own syntax: a path, a URL, or ``json:``)."""
    if name.startswith("json:"):
        for file in _file_names(json.loads(name.removeprefix("json:"))):
            yield directory / file
    elif name.startswith(("file:", "/")) or ":" not in name.split("/")[0]:
        yield directory / name.removeprefix("file:").removeprefix("//")


def _file_names(options: object) -> Iterator[str]:
    match options:
        case dict():
            for key, value in options.items():
                if isinstance(value, str) and key.split(".")[-1] == "filename":
                    yield value
                else:
                    yield from _file_names(value)
        case list():
            for value in options:
                yield from _file_names(value)
