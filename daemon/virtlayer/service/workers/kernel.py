# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's end of the workers that read kernels, modules and initrds.

A request is ``{"ask": ...}``: ``survey``, ``kernel``, ``image-initrd`` or ``own-initrd``, with a
``version`` of the kernel for all but the first. For an image, a request has the descriptor of an
NBD connection. A file is written to ``STAGED_DISK``, and the reply has its digest, which the keeper
compares when the file gets its name.
"""

import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Self

from virtlayer import errors
from virtlayer.protocol.boot_names import BootPart, boot_volume_name
from virtlayer.protocol.kernel_header import VERSION
from virtlayer.protocol.os_ids import OS_ID
from virtlayer.protocol.programs import Kind
from virtlayer.service.keeper.programs import Programs
from virtlayer.service.workers.conversation import Advice, Worker, unexpected_reply
from virtlayer.settings import LayerSettings

_ADVICE: Advice = {
    errors.NoSpace: "Free some space in the pool.",
    errors.InvalidArgument: 'Repair it, or choose another kernel with the option "kernel".',
    errors.NoKernel: 'Choose another kernel with the option "kernel".',
}
_KERNELS_LIMIT = 64
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedKernel:
    """A kernel of an image.

    Attributes:
        version: Its version.
        initrd: Whether the image has an initrd for it.
        modules: Whether the image has its modules.
    """

    version: str
    initrd: bool
    modules: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What an image has to boot with.

    Attributes:
        init: Whether it has /sbin/init.
        os_id: The libosinfo id of its operating system; "" if unknown.
        kernels: Its kernels, by version.
    """

    init: bool
    os_id: str
    kernels: tuple[SurveyedKernel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """A file that a worker has written.

    Attributes:
        name: The name that the file gets as a boot volume.
        version: The version in the header of a kernel; "" if unknown, or for an initrd.
    """

    name: str
    version: str


class ImageKernelWorker(Worker):
    """A worker process that reads what images boot with."""

    @classmethod
    def started(
        cls, staging: Programs, settings: LayerSettings
    ) -> AbstractAsyncContextManager[Self]:
        """Run a worker for as long as the context lasts.

        Args:
            staging: The staging directory in which it writes a file.
            settings: The limits.
        """
        return cls.running(staging, Kind.KERNEL_WORKER, settings, _ADVICE)

    async def survey(self, nbd: socket.socket, description: str) -> Survey:
        """Find out what an image has to boot with.

        Args:
            nbd: Connected to the server of the image; stays the caller's.
            description: The image as an error should call it, at the beginning of a sentence.

        Raises:
            InvalidArgument: The image has too many kernels.
            Internal: The worker ended or sent an invalid reply.
        """
        reply = await self.ask({"ask": "survey"}, [nbd.fileno()], description)
        match reply:
            case {"init": bool(init), "os_id": str(os_id), "kernels": list(kernels)}:
                if OS_ID.fullmatch(os_id) and len(kernels) <= _KERNELS_LIMIT:
                    found = tuple(_kernel(one, description) for one in kernels)
                    return Survey(init=init, os_id=os_id, kernels=found)
        raise unexpected_reply(description)

    async def write_kernel(self, nbd: socket.socket, version: str, description: str) -> WrittenFile:
        """Write a kernel of an image into the staging directory; see ``write_own_initrd``."""
        return await self._write(BootPart.KERNEL, "kernel", nbd, version, description)

    async def write_image_initrd(
        self, nbd: socket.socket, version: str, description: str
    ) -> WrittenFile:
        """Write the initrd of an image into the staging directory; see ``write_own_initrd``."""
        return await self._write(BootPart.INITRD, "image-initrd", nbd, version, description)

    async def write_own_initrd(
        self, nbd: socket.socket, version: str, description: str
    ) -> WrittenFile:
        """Write our initrd for a kernel of an image into the staging directory.

        Args:
            nbd: Connected to the server of the image; stays the caller's.
            version: The version of the kernel.
            description: The image as an error should call it, at the beginning of a sentence.

        Raises:
            InvalidArgument: A file of the image cannot be used.
            NoKernel: The kernel lacks a driver that a machine requires.
            NoSpace: The pool is full.
            Internal: The worker ended or sent an invalid reply.
        """
        return await self._write(BootPart.INITRD, "own-initrd", nbd, version, description)

    async def _write(
        self, part: BootPart, ask: str, nbd: socket.socket, version: str, description: str
    ) -> WrittenFile:
        message = {"ask": ask, "version": version}
        return _written(part, await self.ask(message, [nbd.fileno()], description), description)


class HostKernelWorker(Worker):
    """A worker process that reads a kernel of the host and its modules."""

    @classmethod
    def started(
        cls, staging: Programs, settings: LayerSettings, files: Sequence[int]
    ) -> AbstractAsyncContextManager[Self]:
        """Run a worker for as long as the context lasts.

        Args:
            staging: The staging directory in which it writes a file.
            settings: The limits.
            files: Descriptors of a kernel and of the directory of its modules, which stay the
                caller's; none for those of the host, which the keeper opens.
        """
        return cls.running(staging, Kind.HOST_KERNEL_WORKER, settings, _ADVICE, files)

    async def write_kernel(self, description: str) -> WrittenFile:
        """Write the kernel into the staging directory; see ``write_own_initrd``."""
        reply = await self.ask({"ask": "kernel"}, [], description)
        return _written(BootPart.KERNEL, reply, description)

    async def write_own_initrd(self, description: str) -> WrittenFile:
        """Write our initrd for the kernel into the staging directory.

        Args:
            description: The kernel as an error should call it, at the beginning of a sentence.

        Raises:
            InvalidArgument: The kernel or a module cannot be used.
            NoKernel: The kernel lacks a driver that a machine requires.
            NoSpace: The pool is full.
            Internal: The worker ended or sent an invalid reply.
        """
        reply = await self.ask({"ask": "own-initrd"}, [], description)
        return _written(BootPart.INITRD, reply, description)


def _kernel(reply: object, description: str) -> SurveyedKernel:
    match reply:
        case {"version": str(version), "initrd": bool(initrd), "modules": bool(modules)}:
            if VERSION.fullmatch(version):
                return SurveyedKernel(version=version, initrd=initrd, modules=modules)
    raise unexpected_reply(description)


def _written(part: BootPart, reply: Mapping[str, Any], description: str) -> WrittenFile:
    match reply:
        case {"sha256": str(digest)} if _SHA256.fullmatch(digest):
            version = reply.get("version", "")
            if version == "" or (isinstance(version, str) and VERSION.fullmatch(version)):
                return WrittenFile(name=boot_volume_name(part, digest), version=version)
    raise unexpected_reply(description)
