# SPDX-License-Identifier: LGPL-2.1-or-later
"""The interface of what makes the images of a chain, and serves them to workers over NBD.

Each kind of pools has its own: ``qcow2`` makes files, ``rbd_images`` images of a Ceph cluster.
"""

import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

type Connect = Callable[[], Awaitable[socket.socket]]
"""Connects to the NBD server; the socket is before the handshake, and the caller closes it."""


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image that ``Images`` has made or opened.

    Attributes:
        name: Its name in the staging place.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Parent:
    """The image that an overlay is based on.

    Attributes:
        name: The bare name by which it will be found next to the image, in the pool.
        image: Its present location: an image of the same ``Images``, finished or not, or the name
            that ``Staging.link`` has returned.
    """

    name: str
    image: NewImage | str


class Images(Protocol):
    """Makes the images of one staging place.

    Each image is made, exported once, finished and flushed. If one fails, all are abandoned.
    """

    async def create(
        self, virtual_size: int, parent: Parent | None, *, large: bool = False
    ) -> NewImage:
        """Make an empty image, at the latest when it is exported.

        Args:
            virtual_size: In bytes.
            parent: What it is based on; None if on nothing.
            large: Whether much will be written to it.
        """

    async def open_existing(self, name: str) -> NewImage:
        """Open the top layer of a chain to read it.

        Args:
            name: What ``Staging.link`` has returned.
        """

    def exported(
        self, image: NewImage, *, writable: bool = True
    ) -> AbstractAsyncContextManager[Connect]:
        """Serve an image over NBD for as long as the context lasts; one at a time.

        The image that it is based on was written before. Clients are disconnected before the
        context ends, and what they have flushed is in the image then.

        Args:
            image: The image.
            writable: Whether clients may write to it.

        Yields:
            What connects a client.
        """

    async def finish(self, image: NewImage) -> None:
        """Complete an image that was written; nothing is written to it any more."""

    async def flush(self, image: NewImage) -> None:
        """Wait until a finished image is on disk, and can be placed."""

    def let_go(self) -> None:
        """Stop what runs, without waiting; no image follows."""
