# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process of ssh that connects the command with a bridge."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence

from virtlayer.cancellation import meanwhile
from virtlayer.client.remote.descriptors import read_some, readable
from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable
from virtlayer.sizes import KIB

_CLOSE_SECONDS = 5
_LINE_LIMIT = 8 * KIB


class Ssh:
    """ssh, with its standard input and output.

    Args:
        process: The process.
        connection: The other end of both.
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self._process = process
        self._connection = connection

    @property
    def descriptor(self) -> int:
        """Its standard input and output; non-blocking."""
        return self._connection.fileno()

    async def status(self) -> int:
        """Wait until it ends; return its exit status, which is below 0 after a signal."""
        if (status := self._process.poll()) is not None:
            return status
        descriptor = os.pidfd_open(self._process.pid)
        try:
            await readable(descriptor)
        finally:
            os.close(descriptor)
        return self._process.wait()

    def terminate(self) -> None:
        """End it without waiting for the other side."""
        self._process.terminate()

    async def close(self) -> None:
        """End its input, and wait until it ends; not for long."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.status()
        except TimeoutError:
            self._process.kill()
            self._process.wait()


@contextlib.asynccontextmanager
async def running_ssh(command: Sequence[str]) -> AsyncIterator[Ssh]:
    """Run ssh for as long as the context lasts.

    It asks the user for passwords on the terminal by itself. Its standard error is the user's, with
    what a terminal would interpret escaped: it has what programs there print.

    Args:
        command: The command line.

    Raises:
        InvalidArgument: ssh is not installed.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = _started(command, theirs)
        ours.setblocking(False)
        assert process.stderr is not None, "it is a pipe"
        with process.stderr:
            os.set_blocking(process.stderr.fileno(), False)
            ssh = Ssh(process, ours)
            errors = _Errors(process.stderr.fileno())
            try:
                async with meanwhile(errors.print_all()):
                    try:
                        yield ssh
                    except BaseException:
                        ssh.terminate()
                        raise
                    finally:
                        await ssh.close()
            finally:
                errors.print_last()


def _started(command: Sequence[str], connection: socket.socket) -> subprocess.Popen[bytes]:
    # Ctrl-C and Ctrl-\ reach every process of the terminal. This one cancels its job, for which it
    # needs the connection. A signal that comes meanwhile is not lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGQUIT})
    try:
        return subprocess.Popen(
            command, stdin=connection.fileno(), stdout=connection.fileno(), stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        raise InvalidArgument("ssh is not installed. Install the package openssh-client.") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Errors:
    """Prints standard error of ssh by lines.

    Args:
        descriptor: A non-blocking pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    async def print_all(self) -> None:
        """Print what comes until the end, which a master connection (ControlMaster) may delay."""
        with contextlib.suppress(OSError):
            while chunk := await read_some(self._descriptor, _LINE_LIMIT):
                self._take(chunk)

    def print_last(self) -> None:
        """Print the rest of what ssh has written, which has ended."""
        # It blocks if a master connection has it open.
        with contextlib.suppress(OSError):
            while chunk := os.read(self._descriptor, _LINE_LIMIT):
                self._take(chunk)
        if self._rest:
            _print_line(self._rest)

    def _take(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            _print_line(line)
        if len(self._rest) > _LINE_LIMIT:
            _print_line(self._rest)
            self._rest = b""


def _print_line(line: bytes) -> None:
    text = line.removesuffix(b"\r").decode(errors="replace")
    print(printable(text), file=sys.stderr, flush=True)
