# SPDX-License-Identifier: LGPL-2.1-or-later
"""The init of machines as process 1 of a container, without libvirt; for tests that run as root.

It takes the place of machines where only what the init does with an image is of interest, because
it takes no time.
"""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import logs
from tests.support.guest import INIT, Output, parse_records
from tests.support.waiting import PATIENCE
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import RecordKind

# What libvirt-LXC does, in short.
_SCRIPT = """
cd "$1"
mkdir -p proc sys dev .virtlayer
mount -t proc proc proc
mount -t sysfs sysfs sys
if [ $# = 3 ]; then until [ -e sys/class/net/eth0 ]; do sleep 0.02; done; fi
mount -t tmpfs -o mode=755 dev dev
for device in null zero full tty random urandom; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount --bind "$2" .virtlayer
exec chroot . /.virtlayer/init --container /.virtlayer/config /.virtlayer/output /.virtlayer/busybox
"""
# A network with a DHCP server, in which the container's own network is made.
_NETWORK = """
ip link add veth0 type veth peer name eth0
ip address add 192.0.2.1/24 dev veth0
ip link set veth0 up
busybox udhcpd -f -S "$1" &
shift
"$@" wait &
# At first, it has no network of its own.
while ip link show eth0 >/dev/null 2>&1; do
    ip link set eth0 netns $! 2>/dev/null || sleep 0.02
done
wait $!
"""
_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child")


class Container:
    """A running container.

    Attributes:
        process: unshare(1), the parent of the init.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def output(self) -> Output:
        """The records until now."""
        return Output(parse_records(self._output.read_bytes()))

    @property
    def init(self) -> int:
        """The process id of the init."""
        process = self.process.pid
        [child] = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return int(child)

    def wait_for(self, kind: RecordKind, content: bytes) -> None:
        """Wait until records of a kind have had this content."""
        deadline = time.monotonic() + PATIENCE
        while content not in self.output.of(kind):
            assert time.monotonic() < deadline, self.output
            assert self.process.poll() is None, self.output
            time.sleep(0.02)

    def wait(self) -> Output:
        """Wait until it has ended; all that it wrote."""
        status = self.process.wait(PATIENCE)
        assert status == self.output.status
        return self.output


@contextlib.contextmanager
def container(
    tree: Path,
    config: GuestConfig | bytes,
    directory: Path,
    console: int = subprocess.DEVNULL,
    network: Path | None = None,
) -> Iterator[Container]:
    """Start a container; afterwards it has ended.

    Args:
        tree: The image, which is changed.
        config: The configuration.
        directory: For the files of the init; created, or used again.
        console: A terminal.
        network: The configuration of a DHCP server at the other end of its interface, veth0; None
            for no interface.
    """
    directory.mkdir(exist_ok=True)
    (directory / "init").unlink(missing_ok=True)
    (directory / "init").hardlink_to(INIT)
    (directory / "busybox").unlink(missing_ok=True)
    shutil.copy("/bin/busybox", directory)
    encoded = config if isinstance(config, bytes) else config.encoded()
    (directory / "config").write_bytes(encoded)
    (directory / "output").write_bytes(b"")
    logs.follow("output of the container", directory, "output")
    command: list[str | Path] = [
        "unshare",
        *_NAMESPACES,
        "sh",
        "-euc",
        _SCRIPT,
        "sh",
        tree,
        directory,
    ]
    if network:
        outside = ("--net", "--pid", "--fork", "--kill-child", "--mount-proc")
        command = ["unshare", *outside, "sh", "-euc", _NETWORK, "sh", network, *command]
    errors = subprocess.DEVNULL if console == subprocess.DEVNULL else console
    process = subprocess.Popen(command, stdin=console, stdout=errors, stderr=errors)
    try:
        yield Container(process, directory / "output")
    finally:
        process.kill()
        process.wait()


def run_in_container(tree: Path, config: GuestConfig | bytes, directory: Path) -> Output:
    """Run an entrypoint to its end; the arguments are those of ``container``."""
    with container(tree, config, directory) as running:
        return running.wait()
