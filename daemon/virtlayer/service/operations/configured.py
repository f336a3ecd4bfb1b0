# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads the configured images, which Populate keeps up to date: one TOML file each, in images.d.

::

    source = "docker://docker.io/library/debian:13"
    pool = "default"
    name = "debian"
    refresh = "12h"
    keep = 2

Only ``source`` is required. The options of Pull can also be set there under their own names, except
for credentials, which belong in an ``authfile``.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import InvalidArgument, VirtlayerError
from virtlayer.protocol.names import parse_image_name, parse_pool_name
from virtlayer.service.operations.pull_chain import PullRequest
from virtlayer.service.source.access import Access
from virtlayer.service.source.platform import parse_platform
from virtlayer.service.source.short_names import parse_resolved
from virtlayer.settings import images_directory
from virtlayer.toml import Misfit, read_toml

_UNITS = {"s": 1, "min": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}
_INTERVAL = re.compile(r"([0-9]{1,9})(s|min|h|d|w)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """The content of one file."""

    source: str
    """The image, as Pull takes it."""
    pool: str = "default"
    """The pool that it is pulled into."""
    name: str | None = None
    """Its name in the pool; by default from the source."""
    refresh: str = "1d"
    """The refresh interval: a number with s, min, h, d or w."""
    keep: int = 1
    """How many former versions are kept, even if nothing uses them."""
    platform: str | None = None
    authfile: Path | None = None
    tls_verify: bool = True
    cert_dir: Path | None = None
    cache: bool = True
    size: int | None = None
    """Virtual size of the volumes, in bytes."""

    def __post_init__(self) -> None:
        self.interval()
        self.request()

    def request(self) -> PullRequest:
        """Return the pull that updates it.

        Raises:
            Misfit: A value is invalid.
        """
        with _about("source"):
            source = parse_resolved(self.source)
        with _about("platform"):
            platform = None if self.platform is None else parse_platform(self.platform)
        with _about("pool"):
            pool = parse_pool_name(self.pool)
        with _about("source" if self.name is None else "name"):
            name = source.short_name if self.name is None else parse_image_name(self.name)
        with _about("size"):
            return PullRequest(
                source=source,
                pool=pool,
                name=name,
                platform=platform,
                access=Access(
                    authfile=self.authfile,
                    tls_verify=self.tls_verify,
                    cert_dir=self.cert_dir,
                    configured=True,
                ),
                cache=self.cache,
                size=self.size,
                keep=self.keep,
            )

    def interval(self) -> int:
        """Return the refresh interval in seconds.

        Raises:
            Misfit: It is not a valid interval.
        """
        match = _INTERVAL.fullmatch(self.refresh)
        if match is None:
            raise Misfit("refresh", f'Invalid interval "{self.refresh}". Examples: 30min, 12h, 1d.')
        return int(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredImage:
    """A configured image.

    Attributes:
        file: The name of its file in images.d.
        pool: The name of the pool; "" if the file is invalid.
        name: The name that the image has there; "" if unknown.
        source: The reference in its full form; "" if unknown.
        interval: The refresh interval in seconds.
        request: The pull that updates it, or the reason why the file is invalid.
    """

    file: Path
    pool: str = ""
    name: str = ""
    source: str = ""
    interval: int = 0
    request: PullRequest | InvalidArgument


def configured_images(*, session: bool) -> tuple[ConfiguredImage, ...]:
    """Return the images of images.d, by file name; with an error for each invalid file."""
    directory = images_directory(session=session)
    found: dict[tuple[str, str], ConfiguredImage] = {}
    images = []
    for path in sorted(directory.glob("*.toml")):
        image = _read(path)
        first = found.setdefault((image.pool, image.name), image)
        if image.name and first is not image:
            image = ConfiguredImage(
                file=path,
                request=InvalidArgument(
                    f'{path}: the image "{image.name}" in the pool "{image.pool}" is already '
                    f"configured in {first.file}. Change one of the names."
                ),
            )
        images.append(image)
    return tuple(images)


def _read(path: Path) -> ConfiguredImage:
    try:
        content = read_toml(path, ImageFile)
    except FileNotFoundError:
        return ConfiguredImage(file=path, request=InvalidArgument(f"{path} does not exist."))
    except InvalidArgument as error:
        return ConfiguredImage(file=path, request=error)
    request = content.request()
    return ConfiguredImage(
        file=path,
        pool=request.pool,
        name=request.name or "",
        source=str(request.source),
        interval=content.interval(),
        request=request,
    )


@contextlib.contextmanager
def _about(key: str) -> Iterator[None]:
    try:
        yield
    except VirtlayerError as error:
        raise Misfit(key, error.message) from error
