# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs all other programs.

Every child gets an argument list (never a shell), a small environment, a closed standard input,
and only the descriptors that it is given. It leads its own process group, may never gain
privileges, and is killed by the kernel if this process ends: guard.c, which starts it, ensures
that. Its standard error is always drained, and the end of it kept for the error message.
"""

import asyncio
import contextlib
import logging
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath

_log = logging.getLogger(__name__)

STDERR_KEPT = 8 * 1024
"""How many bytes of a program's standard error are kept: the last ones."""
OUTPUT_LIMIT = 8 * 1024 * 1024
"""How many bytes a program may write to standard output by default."""

_KILL_SECONDS = 10
"""How long a killed program is waited for."""
_CHUNK = 64 * 1024
_INHERITED = ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GUARD = Path(__file__).with_name("guard")
_SAME_USER = "-"
_NO_HOME = "/nonexistent"
"""The home of a program that runs as another user, so that it reads no user's settings."""


class Confinement(StrEnum):
    """The restrictions of a program, by their names in guard.c."""

    NO_NEW_RIGHTS = "no-new-rights"
    """It gains no rights by running another program."""
    WORKING_DIRECTORY = "working-directory"
    """In addition, it writes no file and lists no directory outside of its working directory, reads
    only programs, libraries and configuration there, makes no process, and has limits of memory and
    core dumps. It flushes nothing: fsync(2) and fdatasync(2) succeed and do nothing."""
    NONE = "none"
    """It has the rights of this process, because a libvirtd that it may start needs them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user whose rights a program gets."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class ProgramFailed(Exception):
    """A program ended with a status that means failure.

    Args:
        program: The name of the program, without its directory.
        returncode: Its exit status; negative for a signal, as in ``subprocess``.
        stderr: The end of what it wrote to standard error.
        ending: How it ended, if its exit status does not say so.
    """

    def __init__(
        self, program: str, returncode: int, stderr: str, ending: str | None = None
    ) -> None:
        if ending is None:
            ending = (
                f"was killed by {_signal_name(-returncode)}"
                if returncode < 0
                else f"exited with {returncode}"
            )
        super().__init__(f"{program} {ending}" + (f": {stderr}" if stderr else ""))
        self.program = program
        self.ending = ending
        """How it ended, in words that do not contain its output."""
        self.returncode = returncode
        self.stderr = stderr


class RunningProgram:
    """A child process whose standard error is being drained."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._tail = bytearray()
        self._drain = asyncio.create_task(self._keep_tail(), name=f"stderr of {name}")

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def stderr_tail(self) -> str:
        """The end of its standard error, as text."""
        return self._tail.decode(errors="replace").strip()

    def open_pidfd(self) -> int:
        """Open a descriptor of the process, which is the caller's."""
        return os.pidfd_open(self.pid)

    @property
    def stdout(self) -> asyncio.StreamReader:
        """Its standard output, where ``running`` was asked to pipe it."""
        assert self._process.stdout is not None, "started without a pipe on standard output"
        return self._process.stdout

    async def wait(self) -> int:
        """Wait for the end of the program and of its standard error; return its exit status."""
        returncode = await self._process.wait()
        # A grandchild may hold the pipe open: what has arrived by then is enough. If the program is
        # killed meanwhile, the draining is cancelled, which does not cancel this.
        await asyncio.wait([self._drain], timeout=1)
        return returncode

    async def output(self, limit: int = OUTPUT_LIMIT) -> bytes:
        """Wait for the end of the program, and return what it wrote to standard output.

        Args:
            limit: The most bytes.

        Raises:
            ProgramFailed: It did not exit with 0, or wrote more than the limit.
        """
        output = bytearray()
        while chunk := await self.stdout.read(_CHUNK):
            output += chunk
            if len(output) > limit:
                ending = f"was stopped: it wrote more than {limit} bytes"
                raise ProgramFailed(self.name, 0, "", ending)
        await self.check()
        return bytes(output)

    def bytes_moved(self) -> int:
        """How many bytes it has read and written so far; 0 if it has ended (proc_pid_io(5))."""
        try:
            counters = Path(f"/proc/{self.pid}/io").read_text(encoding="ascii")
        except OSError:
            return 0
        numbers = dict(line.split(": ") for line in counters.splitlines())
        return int(numbers["rchar"]) + int(numbers["wchar"])

    async def check(self) -> None:
        """Wait for the end of the program.

        Raises:
            ProgramFailed: It did not exit with 0.
        """
        returncode = await self.wait()
        if returncode != 0:
            raise self.failure()

    def failure(self) -> ProgramFailed:
        """What to raise about a program that has ended."""
        return ProgramFailed(self.name, self.returncode or 0, self.stderr_tail)

    def terminate(self) -> None:
        """Ask it to end; do nothing if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def kill(self) -> None:
        """End it and its children now, and reap it.

        One that the kernel does not end, because a file system does not answer, is left alone.
        """
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            try:
                async with asyncio.timeout(_KILL_SECONDS):
                    # asyncio regards it as ended only when its output is read.
                    await self._discard_output()
                    await self._process.wait()
            except TimeoutError:
                _log.error("%s (process %d) was killed but has not ended", self.name, self.pid)
        self._drain.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._drain

    async def _discard_output(self) -> None:
        if self._process.stdout is not None:
            while await self._process.stdout.read(_CHUNK):
                pass

    async def _keep_tail(self) -> None:
        if self._process.stderr is None:
            return
        while chunk := await self._process.stderr.read(4096):
            self._tail += chunk
            del self._tail[:-STDERR_KEPT]


@contextlib.asynccontextmanager
async def running(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: int = DEVNULL,
    stdout: int = DEVNULL,
    stderr: int | None = PIPE,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    bare: bool = False,
    cwd: Path | None = None,
    identity: Identity | None = None,
    confinement: Confinement = Confinement.NO_NEW_RIGHTS,
    launcher: Sequence[str | os.PathLike[str]] = (),
) -> AsyncIterator[RunningProgram]:
    """Run a program for as long as the context lasts; on leaving, it is dead and reaped.

    Args:
        argv: The program and its arguments.
        stdin: A descriptor for its standard input.
        stdout: A descriptor for its standard output, or ``PIPE``.
        stderr: ``PIPE`` to keep the end of it; None for this process's.
        pass_fds: Descriptors that it inherits under their own numbers.
        env: Variables beside the few that every child gets.
        bare: Not even those few.
        cwd: The directory that it works in; None for this process's.
        identity: Whom it runs as; None for this process's user. Only root can choose.
        confinement: What the kernel keeps it from.
        launcher: A program with arguments that runs it, after taking rights away.
    """
    process = await asyncio.create_subprocess_exec(
        *(_GUARD, str(os.getpid()), _described(identity), confinement, *launcher, *argv),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        env=({} if bare else environment(identity)) | dict(env or {}),
        cwd=cwd,
        start_new_session=True,
    )
    program = RunningProgram(PurePath(argv[0]).name, process)
    try:
        yield program
    finally:
        # A second cancellation must not leave the child behind.
        await asyncio.shield(asyncio.ensure_future(program.kill()))


async def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    identity: Identity | None = None,
    output_limit: int = OUTPUT_LIMIT,
) -> bytes:
    """Run a program to its end; see ``running``.

    Args:
        argv: The program and its arguments.
        pass_fds: Descriptors that it inherits under their own numbers.
        env: Variables beside the few that every child gets.
        cwd: The directory that it works in; None for this process's.
        identity: Whom it runs as; None for this process's user.
        output_limit: The most bytes that it may write to standard output.

    Returns:
        What it wrote to standard output.

    Raises:
        ProgramFailed: It did not exit with 0, or wrote more than the limit and was stopped.
    """
    async with running(
        argv, stdout=PIPE, pass_fds=pass_fds, env=env, cwd=cwd, identity=identity
    ) as program:
        return await program.output(output_limit)


def environment(identity: Identity | None = None) -> dict[str, str]:
    """The environment that every child starts with."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    if identity is not None:
        inherited = {"HOME": _NO_HOME}
    return {"PATH": _PATH, "LANG": "C.UTF-8"} | inherited


def _described(identity: Identity | None) -> str:
    """An identity as guard.c reads it."""
    if identity is None:
        return _SAME_USER
    return f"{identity.uid}:{identity.gid}:{','.join(map(str, identity.groups))}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
