# SPDX-License-Identifier: LGPL-2.1-or-later
"""The init of machines as process 1 of a container, without libvirt; for tests that run as root.

It takes the place of machines where only what the init does with an image is of interest, because
it takes no time.
"""

import subprocess
from pathlib import Path

from tests.support.guest import INIT, Output, parse_records
from virtlayer.protocol.guest_config import GuestConfig

# What libvirt-LXC does, in short.
_SCRIPT = """
cd "$1"
mkdir -p proc dev .virtlayer
mount -t proc proc proc
mount -t tmpfs -o mode=755 dev dev
for device in null zero full tty random urandom; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount --bind "$2" .virtlayer
exec chroot . /.virtlayer/init --container /.virtlayer/config /.virtlayer/output
"""
_SECONDS = 60


def run_in_container(tree: Path, config: GuestConfig | bytes, directory: Path) -> Output:
    """Run an entrypoint to its end.

    Args:
        tree: The image, which is changed.
        config: The configuration.
        directory: For the files of the init; created, or used again.
    """
    directory.mkdir(exist_ok=True)
    (directory / "init").unlink(missing_ok=True)
    (directory / "init").hardlink_to(INIT)
    encoded = config if isinstance(config, bytes) else config.encoded()
    (directory / "config").write_bytes(encoded)
    (directory / "output").write_bytes(b"")
    namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child")
    done = subprocess.run(
        ["unshare", *namespaces, "sh", "-euc", _SCRIPT, "sh", str(tree), str(directory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    output = Output(parse_records((directory / "output").read_bytes()))
    assert output.records, done.stderr
    assert done.returncode == output.status, done.stderr
    return output
