# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts each kind of program: with its arguments, user and descriptors.

The service says which kind and passes sockets or a pipe. It chooses no argument, no path and no
user.
"""

import contextlib
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from virtlayer import programs, storage_daemon
from virtlayer.errors import Internal
from virtlayer.keeper.backing import backing_name
from virtlayer.keeper.beneath import by_descriptor, opened
from virtlayer.keeper.boot_descriptors import boot_descriptors
from virtlayer.keeper.users import qemu_identity, worker_identity
from virtlayer.programs import Confinement, RunningProgram
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.programs import STAGED_OVERLAY, Ended, Kind, StartProgram
from virtlayer.protocol.volume_format import CLUSTER_SIZE

_MODULES = {
    Kind.LAYER_WORKER: "virtlayer.worker.ext4.worker",
    Kind.CUSTOMIZER: "virtlayer.worker.customize.worker",
    Kind.IDENTITY_CUSTOMIZER: "virtlayer.worker.customize.identity_worker",
    Kind.DIRECTORY_WORKER: "virtlayer.worker.directory.worker",
    Kind.DIRECTORY_CUSTOMIZER: "virtlayer.worker.directory.customizer",
    Kind.DISK_WORKER: "virtlayer.worker.disk.worker",
    Kind.UNPACKER: "virtlayer.worker.unpacking.worker",
    Kind.KERNEL_WORKER: "virtlayer.worker.kernel.worker",
    Kind.HOST_KERNEL_WORKER: "virtlayer.worker.kernel.host_worker",
}
_WRITES_DIRECTORY = (Kind.DIRECTORY_WORKER, Kind.DIRECTORY_CUSTOMIZER)
_PURPOSES = {
    Kind.DIRECTORY_WORKER: (Purpose.DIRECTORY, Purpose.CONTAINED_DIRECTORY),
    Kind.DIRECTORY_CUSTOMIZER: (Purpose.DIRECTORY, Purpose.CONTAINED_DIRECTORY),
    Kind.DISK_WORKER: (Purpose.DISK,),
    Kind.DISK_INSPECTOR: (Purpose.DISK,),
    Kind.KERNEL_WORKER: (Purpose.BOOT,),
    Kind.HOST_KERNEL_WORKER: (Purpose.BOOT,),
    Kind.STORAGE_DAEMON: (Purpose.LAYERS, Purpose.VOLUME),
    Kind.IMAGE_SERVER: (),  # not in a directory
}
_DISK_READABLE = 0o444
"""For an inspector without rights; nobody else may enter the staging directory."""


@dataclass(frozen=True, slots=True)
class Place:
    """The staging directory that a program works in.

    Attributes:
        purpose: What is made there.
        directory: A descriptor of it.
        output: A descriptor of the file or directory in it that a worker writes; None if none.
        readers: The gid of the group that reads layers; None if this process's user does.
    """

    purpose: Purpose
    directory: int
    output: int | None
    readers: int | None = None


class StartedProgram(Protocol):
    """A program that was started, by this process or by that of an RBD pool."""

    name: str

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""

    @property
    def stderr_tail(self) -> str:
        """The end of its standard error."""

    def open_pidfd(self) -> int:
        """Open a descriptor of its process, which is the caller's."""

    async def wait(self) -> int:
        """Wait for its end; its exit status."""

    def terminate(self) -> None:
        """Ask it to end; do nothing if it has ended."""


def ended(program: StartedProgram) -> Ended:
    """How a program has ended, or would have."""
    return Ended(program.returncode or 0, program.stderr_tail)


def running(
    request: StartProgram, descriptors: Sequence[int], place: Place | None
) -> AbstractAsyncContextManager[RunningProgram]:
    """Run a program for as long as the context lasts.

    Args:
        request: What the service asks for.
        descriptors: What it passes for it; they stay the caller's.
        place: The staging directory that it named; None if none.

    Raises:
        Internal: It may not have that program like this.
    """
    kind = request.kind
    purposes = _PURPOSES.get(kind, (None,))
    if (place and place.purpose) not in purposes:
        raise Internal(f"The program {kind} cannot run in this staging directory.")
    match kind:
        case Kind.STORAGE_DAEMON:
            assert place is not None
            return _storage_daemon(descriptors, place)
        case Kind.DISK_INSPECTOR:
            assert place is not None
            return _inspector(descriptors, place)
        case Kind.KERNEL_WORKER | Kind.HOST_KERNEL_WORKER:
            return _kernel_worker(request, descriptors, place)
        case _:
            return _worker(request, descriptors, place)


@contextlib.asynccontextmanager
async def _kernel_worker(
    request: StartProgram, descriptors: Sequence[int], place: Place | None
) -> AsyncIterator[RunningProgram]:
    is_host = request.kind is Kind.HOST_KERNEL_WORKER
    control, passed = (descriptors[:1], descriptors[1:]) if is_host else (descriptors, None)
    # Before any file is opened.
    _socket_of(control, 1, 0, socket.SOCK_SEQPACKET)
    with boot_descriptors(passed) as files:
        async with _worker(request, control, place, files) as program:
            yield program


def _worker(
    request: StartProgram,
    descriptors: Sequence[int],
    place: Place | None,
    files: Sequence[int] = (),
) -> AbstractAsyncContextManager[RunningProgram]:
    control = _socket_of(descriptors, 1, 0, socket.SOCK_SEQPACKET)
    outputs = [*([] if place is None or place.output is None else [place.output]), *files]
    limits = (request.memory, request.cpu_seconds)
    module = _MODULES[request.kind]
    # Root's worker for a directory gives up most of root's rights itself, once it is shut in.
    identity = None if request.kind in _WRITES_DIRECTORY else worker_identity()
    return programs.running(
        [sys.executable, "-I", "-m", module, *map(str, (*limits, *outputs))],
        stdin=control,
        pass_fds=outputs,
        bare=True,
        identity=identity,
    )


@contextlib.asynccontextmanager
async def _inspector(descriptors: Sequence[int], place: Place) -> AsyncIterator[RunningProgram]:
    assert place.output is not None
    [pipe] = _checked_number(descriptors, 1)
    if not stat.S_ISFIFO(os.fstat(pipe).st_mode):
        raise Internal("The output of a program is not a pipe.")
    os.fchmod(place.output, _DISK_READABLE)
    module = "virtlayer.worker.disk.qemu_img"
    # Not the descriptor that the worker had: what examines the disk must not change it.
    with opened(os.open(by_descriptor(place.output), os.O_RDONLY | os.O_CLOEXEC)) as disk:
        async with programs.running(
            [sys.executable, "-I", "-m", module, str(disk)],
            stdout=pipe,
            pass_fds=[disk],
            bare=True,
            identity=qemu_identity(),
        ) as program:
            yield program


def _storage_daemon(
    descriptors: Sequence[int], place: Place
) -> AbstractAsyncContextManager[RunningProgram]:
    monitor = _socket_of(descriptors, 2, 0, socket.SOCK_STREAM)
    server = _socket_of(descriptors, 2, 1, socket.SOCK_STREAM)
    return programs.running(
        [
            *("qemu-storage-daemon", "--chardev", f"socket,id=qmp,fd={monitor}"),
            *("--monitor", "chardev=qmp"),
            *("--nbd-server", f"addr.type=fd,addr.str={server}"),
        ],
        pass_fds=[monitor, server],
        env=storage_daemon.ENVIRONMENT,
        cwd=Path(by_descriptor(place.directory)),
        identity=qemu_identity(place.readers),
        confinement=Confinement.WORKING_DIRECTORY,
    )


@dataclass(frozen=True, slots=True)
class Backing:
    """The volume that an overlay is backed by.

    Attributes:
        name: Its name.
        format: Its format.
    """

    name: str
    format: str


def creating_overlay(
    size: int, backing: Backing, place: Place
) -> AbstractAsyncContextManager[RunningProgram]:
    """Let qemu-img make an empty overlay, ``STAGED_OVERLAY``, while the context lasts.

    Args:
        size: Its virtual size in bytes.
        backing: The layer or disk that it is an overlay of.
        place: The staging directory.

    Raises:
        Internal: The staging directory is for something else.
    """
    if place.purpose is not Purpose.VOLUME:
        raise Internal("An overlay cannot be created in this staging directory.")
    options = f"compat=1.1,cluster_size={CLUSTER_SIZE},lazy_refcounts=off"
    return programs.running(
        [
            *("qemu-img", "create", "-q", "-f", "qcow2", "-o", options),
            # -u: what it is an overlay of is not opened.
            *("-u", "-b", backing_name(backing.name), "-F", backing.format),
            *("--", STAGED_OVERLAY, str(size)),
        ],
        cwd=Path(by_descriptor(place.directory)),
        identity=qemu_identity(),
        confinement=Confinement.WORKING_DIRECTORY,
    )


def _socket_of(descriptors: Sequence[int], number: int, index: int, kind: int) -> int:
    """One of the descriptors, which must be a Unix socket of this type."""
    descriptor = _checked_number(descriptors, number)[index]
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        with socket.socket(fileno=os.dup(descriptor)) as passed:
            if (passed.family, passed.type) == (socket.AF_UNIX, kind):
                return descriptor
    raise Internal("A descriptor for a program is not a socket of the right type.")


def _checked_number(descriptors: Sequence[int], number: int) -> Sequence[int]:
    if len(descriptors) != number:
        raise Internal(f"The program requires {number} descriptors, not {len(descriptors)}.")
    return descriptors
