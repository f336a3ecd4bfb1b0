# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes that claim, lock and record in an RBD pool as those of other hosts do.

Each one has a connection and a lease of its own. A test tells it what to do, and can kill or stop
it at any moment::

    with RbdHost(pool, lease_seconds=3) as host:
        claim = host.claim(["layer-1"])
        host.stop()
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self, cast

from tests.support.ceph import CephPool
from tests.support.waiting import stop
from virtlayer.protocol.records import Stamp


class Refused(Exception):
    """The process answered with an error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


class RbdHost:
    """``with RbdHost(pool) as host:`` — killed at the end of the context.

    Args:
        pool: The pool.
        lease_seconds: For how long it takes its lease.
        op_timeout: After how many seconds it gives up a request to the cluster.
        lives_on: Whether it does not end when it has lost its lease, as it should.
    """

    def __init__(
        self,
        pool: CephPool,
        *,
        lease_seconds: int = 60,
        op_timeout: int = 50,
        lives_on: bool = False,
    ) -> None:
        self._start = {
            "pool": asdict(pool),
            "lease_seconds": lease_seconds,
            "op_timeout": op_timeout,
            "lives_on": lives_on,
        }
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.rbd_host_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask(**self._start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._running
        process.kill()
        process.communicate()

    def ask(self, **request: object) -> Any:
        """Let it do something; return its answer.

        Raises:
            Refused: It answered with an error.
            EOFError: It has ended.
        """
        self.tell(**request)
        return self.answer()

    def tell(self, **request: object) -> None:
        """Let it do something, whose answer ``answer`` returns."""
        process = self._running
        assert process.stdin is not None, "a pipe"
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()

    def answer(self) -> Any:
        """The answer to what it was told; see ``ask``."""
        process = self._running
        assert process.stdout is not None, "a pipe"
        line = process.stdout.readline()
        if not line:
            raise EOFError
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"], answer["message"])
        return answer["done"]

    def claim(self, names: Iterable[str] = ()) -> int:
        """Make a claim; its number."""
        return cast(int, self.ask(do="claim", names=list(names)))

    def try_build(self, claim: int, *builds: str) -> list[str]:
        """Try to build; return what others build."""
        return cast(list[str], self.ask(do="try_build", number=claim, builds=builds))

    def lock(self) -> int:
        """Take the lock; its number."""
        return cast(int, self.ask(do="lock"))

    def claimed(self, lock: int) -> list[str]:
        """The names that were claimed when it took the lock."""
        return cast(list[str], self.ask(do="claimed", number=lock))

    def end(self, number: int) -> None:
        """End a claim or lock."""
        self.ask(do="end", number=number)

    def put(self, number: int, file: str, expected: Stamp | None, content: str | None) -> Any:
        """Write a record; as ``put_record``."""
        stamp = None if expected is None else asdict(expected)
        return self.ask(do="put", number=number, file=file, expected=stamp, content=content)

    def kill(self) -> None:
        """Kill it."""
        self._running.kill()
        self._running.wait()

    def stop(self) -> None:
        """Stop it (SIGSTOP)."""
        stop(self._running.pid)

    def go_on(self) -> None:
        """Let it run again."""
        self._running.send_signal(signal.SIGCONT)

    def status(self, seconds: float) -> int:
        """Wait for its end; its exit status."""
        return self._running.wait(seconds)

    @property
    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "it was not started"
        return self._process
