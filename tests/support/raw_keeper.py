# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keeper as a process, and a service that sends it anything.

::

    with raw_keeper(host.uri) as keeper:
        assert keeper.ask("space", pool="no UUID").refused
"""

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import logs
from tests.support.keeper import NO_LIBVIRT
from tests.support.waiting import PATIENCE


@dataclass(frozen=True, slots=True)
class Reply:
    """What the keeper has answered; its descriptors are the test's to close.

    Attributes:
        done: What was asked for; None if there is an error.
        error: The name of the error; "" if there is none.
        text: What it says.
        descriptors: Those that came with it.
    """

    done: Any
    error: str
    text: str
    descriptors: Sequence[int]

    @property
    def refused(self) -> bool:
        """Whether the request was not even looked at."""
        return self.error == "Internal" and "refused the request" in self.text


@dataclass
class RawService:
    """One connection to a keeper."""

    connection: socket.socket
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def ask(self, message: str, descriptors: Sequence[int] = (), **content: Any) -> Reply:
        """Ask something, in whatever form; the descriptors stay the test's."""
        number = next(self._numbers)
        self.send({"id": number, "ask": message, "with": content}, descriptors)
        reply, received = self.receive()
        assert reply.pop("id") == number
        return Reply(
            reply.get("done"), reply.get("error", ""), reply.get("text", ""), tuple(received)
        )

    def receive(self) -> tuple[Any, list[int]]:
        """Receive one reply, and its descriptors."""
        text, descriptors = "", list[int]()
        while True:
            packet, received, _, _ = socket.recv_fds(
                self.connection, 2**20, 16, socket.MSG_CMSG_CLOEXEC
            )
            descriptors += received
            match json.loads(packet):
                case {"piece": piece, **rest}:
                    text += piece
                    if rest:
                        return json.loads(text), descriptors
                case reply:
                    return reply, descriptors

    def get(self, message: str, descriptors: Sequence[int] = (), **content: Any) -> Any:
        """Ask something that works; descriptors of the reply are closed."""
        reply = self.ask(message, descriptors, **content)
        for descriptor in reply.descriptors:
            os.close(descriptor)
        assert reply.error == "", reply
        return reply.done

    def send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Send a packet."""
        packet = message if isinstance(message, bytes) else json.dumps(message).encode()
        socket.send_fds(self.connection, [packet], descriptors)

    def is_closed(self) -> bool:
        """Wait for a packet; whether the keeper has closed the connection instead."""
        try:
            return self.connection.recv(1) == b""
        except ConnectionResetError:
            return True


@dataclass
class RawKeeper(RawService):
    """A keeper of its own, and the connection to it.

    Attributes:
        process: The keeper.
        log: Its log.
    """

    process: subprocess.Popen[bytes] = field(kw_only=True)
    log: Path = field(kw_only=True)

    def ended(self) -> tuple[int, str]:
        """Wait for its end; its exit status, and what it logged."""
        return self.process.wait(PATIENCE), self.log.read_text()


@contextlib.contextmanager
def raw_keeper(
    uri: str = NO_LIBVIRT,
    *,
    inside: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[RawKeeper]:
    """A keeper that ends with its connection, at the latest when the context does.

    Args:
        uri: The libvirt URI.
        inside: A command line that runs another one, where the keeper shall run.
        environment: Its environment; None for the test's.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(PATIENCE)
    argv = [*inside, sys.executable, "-I", "-m", "virtlayer.keeper", "--connect", uri]
    with (
        ours,
        theirs,
        tempfile.TemporaryDirectory(prefix="keeper-") as place,
        (Path(place) / "log").open("wb") as log,
        subprocess.Popen(argv, stdin=theirs.fileno(), stderr=log, env=environment) as process,
    ):
        theirs.close()
        log.close()
        logs.follow("keeper", Path(place))
        try:
            yield RawKeeper(ours, process=process, log=Path(log.name))
        finally:
            ours.close()
            try:
                process.wait(PATIENCE)
            finally:
                logs.keep(Path(place))
