# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that finds what an image boots with, and copies it to one open file.

It starts with a socket to the daemon as its standard input, and descriptors of that file, of our
init and of busybox. ``service.workers.kernel`` is the service's end and describes the messages.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from virtlayer.sizes import MIB
from virtlayer.worker.ext4.image import Ext4Image
from virtlayer.worker.kernel.host_files import file_pieces
from virtlayer.worker.kernel.image_files import ImageFiles, ImageModules
from virtlayer.worker.kernel.initrd import initrd
from virtlayer.worker.kernel.kernels import FILE_LIMIT, FoundKernel, found_kernels
from virtlayer.worker.kernel.modules import boot_modules
from virtlayer.worker.kernel.os_release import OS_RELEASE, libosinfo_id
from virtlayer.worker.kernel.output import CannotBoot, refusals, write_initrd, write_kernel
from virtlayer.worker.kernel.unusable import Unusable, about
from virtlayer.worker.problems import quoted
from virtlayer.worker.refusal import INTERNAL, Refused
from virtlayer.worker.sandbox.enter import Limits, enter_sandbox
from virtlayer.worker.serving import obey_cpu_limit, serve

_PROGRAM_LIMIT = 16 * MIB
"""Bytes of our init and of busybox."""
_OS_RELEASE_LIMIT = 64 * 1024
_INIT = b"sbin/init"


def main() -> None:
    """Serve requests until the daemon closes its end."""
    memory, cpu_seconds, output, init, busybox = map(int, sys.argv[1:])
    machine = os.uname().machine
    obey_cpu_limit()
    # Everything is imported and loaded by now: no file can be opened from here on.
    limits = Limits(memory=memory, cpu_seconds=cpu_seconds, file_size=FILE_LIMIT)
    enter_sandbox(limits, more=[("ftruncate",)])

    def answer(request: dict[str, Any], descriptors: list[int], _: socket.socket) -> dict[str, Any]:
        device = socket.socket(fileno=descriptors.pop())
        with refusals(), Ext4Image.opened(device) as tree:
            files = ImageFiles(tree)
            match request:
                case {"ask": "survey"}:
                    return _survey(files)
                case {"ask": "kernel", "version": str(version)}:
                    return _write_kernel(output, files, version, machine)
                case {"ask": "image-initrd", "version": str(version)}:
                    return _write_image_initrd(output, files, version)
                case {"ask": "own-initrd", "version": str(version)}:
                    modules = boot_modules(_modules(files, version))
                    return write_initrd(output, initrd(program(init), program(busybox), modules))
        raise Refused(INTERNAL, "cannot be read: the request is unknown")

    serve(answer)


def program(file: int) -> bytes:
    """The content of our init or of busybox.

    Args:
        file: A descriptor; stays the caller's.

    Raises:
        Unusable: It is too large.
    """
    return b"".join(file_pieces(file, _PROGRAM_LIMIT))


def _survey(files: ImageFiles) -> dict[str, Any]:
    return {
        "init": files.has_file(_INIT),
        "os_id": _os_id(files),
        "kernels": [
            {
                "version": kernel.version,
                "initrd": kernel.initrd is not None,
                "modules": kernel.modules is not None,
            }
            for kernel in found_kernels(files)
        ],
    }


def _os_id(files: ImageFiles) -> str:
    for path in OS_RELEASE:
        if files.has_file(path):
            try:
                return libosinfo_id(files.content(path, _OS_RELEASE_LIMIT))
            except Unusable:
                # It is only a description.
                return ""
    return ""


def _kernel(files: ImageFiles, version: str) -> FoundKernel:
    for kernel in found_kernels(files):
        if kernel.version == version:
            return kernel
    raise Unusable(f"has no kernel of the version {quoted(version.encode())}")


def _modules(files: ImageFiles, version: str) -> ImageModules:
    directory = _kernel(files, version).modules
    if directory is None:
        raise Unusable(f"has no modules of the kernel {quoted(version.encode())}")
    return ImageModules(files, directory)


def _write_kernel(output: int, files: ImageFiles, version: str, machine: str) -> dict[str, Any]:
    path = _kernel(files, version).kernel
    try:
        return write_kernel(output, files.pieces(path, FILE_LIMIT), machine)
    except CannotBoot as error:
        raise about(b"/" + path, str(error)) from error


def _write_image_initrd(output: int, files: ImageFiles, version: str) -> dict[str, Any]:
    path = _kernel(files, version).initrd
    if path is None:
        raise Unusable(f"has no initrd of the kernel {quoted(version.encode())}")
    try:
        return write_initrd(output, files.pieces(path, FILE_LIMIT))
    except CannotBoot as error:
        raise about(b"/" + path, str(error)) from error


if __name__ == "__main__":
    main()
