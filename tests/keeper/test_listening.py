# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keeper of the system: who may connect, what connections share, and when it ends.

systemd's part, to listen and to pass the socket (sd_listen_fds(3)), is done by the test.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import left_by_jobs
from tests.support.raw_keeper import RawService
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.root  # as the keeper of the system is

# The id of the process is known only to itself.
_START = 'exec env LISTEN_PID=$$ LISTEN_FDS=1 "$@" 3<&0 0</dev/null'
_CONNECT = """
import socket, sys
client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
client.connect(sys.argv[1])
try:
    client.send(b'{"id": 1, "ask": "hello", "with": {}}')
    print(client.recv(1000))
except (BrokenPipeError, ConnectionResetError):
    print(b"")
"""


@dataclass
class Listening:
    """A keeper that listens.

    Attributes:
        process: The keeper.
        path: Its socket.
    """

    process: subprocess.Popen[bytes]
    path: Path

    @contextlib.contextmanager
    def connected(self) -> Iterator[RawService]:
        """A connection to it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.path))
            yield RawService(client)


@contextlib.contextmanager
def listening(uri: str, settings: str = "") -> Iterator[Listening]:
    """A keeper that got its socket as from systemd; it is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="keeper") as name,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server,
    ):
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "settings.toml").write_text(settings)
        path = directory / "socket"
        server.bind(str(path))
        path.chmod(0o666)
        server.listen()
        keeper = [sys.executable, "-I", "-m", "virtlayer.keeper", "--connect", uri]
        keeper += ["--config", str(directory / "settings.toml")]
        argv = ["sh", "-c", _START, "sh", *keeper]
        with subprocess.Popen(argv, stdin=server.fileno(), stderr=subprocess.PIPE) as process:
            try:
                yield Listening(process, path)
            finally:
                process.terminate()


def test_numbers_mean_something_on_their_connection_only(host: LibvirtHost, tmp_path: Path) -> None:
    path = host.start_pool("shared", tmp_path)
    with listening(host.uri) as keeper, keeper.connected() as one, keeper.connected() as other:
        pool = one.get("find-pool", name="shared")["uuid"]
        claim = one.get("claim", pool=pool, claim=None, names=["a"], build=[])["claim"]
        number = one.get("stage", pool=pool, claim=claim, purpose="layers")["staging"]
        request = {"pool": pool, "claim": claim, "purpose": "layers"}
        assert "No claim in that pool" in other.ask("stage", (), **request).text
        assert "No claim, lock or staging" in other.ask("release", number=number, failed=False).text
        # It is locked, also for other connections.
        assert other.get("sweep", pool=pool) == {"number": 0}
        assert len(left_by_jobs(path)) == 2
        one.get("release", number=number, failed=False)
    host.stop_pool("shared")


def test_the_end_of_a_connection_is_not_that_of_others(host: LibvirtHost) -> None:
    with listening(host.uri) as keeper, keeper.connected() as one:
        with keeper.connected() as other:
            other.send(b"[")
            assert other.is_closed()
        assert one.get("hello") == {"root": os.geteuid() == 0}


@pytest.mark.root
def test_other_users_are_refused(host: LibvirtHost) -> None:
    with listening(host.uri) as keeper:
        argv = ["/usr/bin/python3", "-I", "-c", _CONNECT, str(keeper.path)]
        drop = ["setpriv", "--reuid=games", "--regid=games", "--clear-groups"]
        answers = [
            subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
            for command in ([*drop, *argv], argv)
        ]
    assert answers[0] == "b''"
    assert '"done"' in answers[1]


def test_keeper_exits_without_connections(host: LibvirtHost) -> None:
    with listening(host.uri, "[service]\nidle-timeout = 1\n") as keeper:
        with keeper.connected() as service:
            assert service.get("hello")
            with pytest.raises(subprocess.TimeoutExpired):
                keeper.process.wait(1.5)
            assert service.get("hello")
        assert keeper.process.wait(PATIENCE) == 0


def test_keeper_does_not_exit_with_timeout_0(host: LibvirtHost) -> None:
    with listening(host.uri, "[service]\nidle-timeout = 0\n") as keeper:
        with keeper.connected() as service:
            assert service.get("hello")
        with pytest.raises(subprocess.TimeoutExpired):
            keeper.process.wait(1.5)
        with keeper.connected() as service:
            assert service.get("hello")


def test_keeper_without_socket_reports_how_to_start_it() -> None:
    argv = [sys.executable, "-I", "-m", "virtlayer.keeper"]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True
    )
    assert done.returncode == 1
    assert "virtlayer-keeper.socket" in done.stderr
    assert "Traceback" not in done.stderr
