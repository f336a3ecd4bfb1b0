# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the init does in containers only: a console, SIGTERM as power button, veth interfaces."""

import contextlib
import os
import pty
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guest import busybox_tree
from tests.support.guest_container import Container, container
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import RecordKind

pytestmark = pytest.mark.root

_READER = 'echo "at $(tty)"; while read -r line; do echo "read <$line>"; done; echo end; exit 4'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return busybox_tree(tmp_path)


@contextlib.contextmanager
def _on_console(tree: Path, config: GuestConfig) -> Iterator[tuple[Container, int]]:
    console, theirs = pty.openpty()
    try:
        with container(tree, config, tree.parent / "init", theirs) as running:
            yield running, console
    finally:
        os.close(console)
        os.close(theirs)


def test_console_is_connected_with_the_terminal(tree: Path) -> None:
    config = GuestConfig(arguments=("sh", "-c", _READER), terminal=True, interactive=True)
    with _on_console(tree, config) as (running, console):
        running.wait_for(RecordKind.TERMINAL, b"at /dev/pts/0\r\n")
        os.write(console, b"some text\r")
        running.wait_for(RecordKind.TERMINAL, b"read <some text>\r\n")
        os.write(console, b"\x04")
        assert running.wait().status == 4
        shown = os.read(console, 4096)
    assert b"at /dev/pts/0\r\nsome text\r\nread <some text>\r\nend\r\n" in shown


def test_console_is_connected_with_pipes(tree: Path) -> None:
    config = GuestConfig(arguments=("sh", "-c", _READER), interactive=True)
    with _on_console(tree, config) as (running, console):
        running.wait_for(RecordKind.STDOUT, b"at not a tty\n")
        os.write(console, b"some text\n\x04")
        output = running.wait()
        shown = os.read(console, 4096)
    assert output.stdout == "at not a tty\nread <some text>\nend\n"
    assert b"read <some text>\r\nend\r\n" in shown
    assert output.status == 4


def test_console_that_nobody_reads_does_not_keep_the_entrypoint(tree: Path) -> None:
    config = GuestConfig(arguments=("seq", "1", "200000"), terminal=True)
    with _on_console(tree, config) as (running, _console):
        output = running.wait()
    assert output.of(RecordKind.TERMINAL).endswith(b"\r\n200000\r\n")


def test_first_sigterm_sends_the_stop_signal_and_the_second_one_kills(tree: Path) -> None:
    script = "trap 'echo caught' INT; echo ready; while true; do sleep 0.1; done"
    config = GuestConfig(arguments=("sh", "-c", script), stop_signal=signal.SIGINT)
    with container(tree, config, tree.parent / "init") as running:
        running.wait_for(RecordKind.STDOUT, b"ready\n")
        os.kill(running.init, signal.SIGTERM)
        running.wait_for(RecordKind.STDOUT, b"caught\n")
        os.kill(running.init, signal.SIGTERM)
        assert running.wait().status == 128 + signal.SIGKILL


_SERVER = """\
start 192.0.2.10
end 192.0.2.10
interface veth0
lease_file {directory}/leases
pidfile {directory}/pid
option subnet 255.255.255.0
option router {router}
option dns 192.0.2.1 192.0.2.2
option domain example.test
option mtu 1400
"""


@pytest.mark.parametrize("router", ["192.0.2.1", "198.51.100.1"])
def test_container_gets_its_address_by_dhcp(tree: Path, tmp_path: Path, router: str) -> None:
    script = """
    ip -4 address show eth0 | grep -oE 'mtu [0-9]+|inet [^ ]+'
    ip route
    grep some-host /etc/hosts
    cat /etc/resolv.conf
    """
    config = GuestConfig(arguments=("sh", "-c", script), hostname="some-host")
    server = tmp_path / "udhcpd.conf"
    server.write_text(_SERVER.format(directory=tmp_path, router=router))
    (tmp_path / "leases").touch()
    with container(tree, config, tmp_path / "init", network=server) as running:
        output = running.wait()
    route = f"default via {router} dev eth0 \n192.0.2.0/24 dev eth0 scope link  src 192.0.2.10 \n"
    if not router.startswith("192.0.2."):
        route += f"{router} dev eth0 scope link \n"
    assert output.stdout == (
        f"mtu 1400\ninet 192.0.2.10/24\n{route}192.0.2.10\tsome-host\n"
        "search example.test\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"
    )
