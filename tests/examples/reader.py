# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads a document as a newcomer does: types its commands into a shell, on a terminal.

``python -m tests.examples.reader user|root DOCUMENT`` prints what the terminal shows, and exits as
the shell did. The reader has a new home, a session bus, and ``qemu:///session``: an ordinary user's
own, or root's, which is that of the system. ``docker.io`` is a registry on loopback.

Before another document than first-steps.md, the reader does what that says first: start the service
from the clone, and define a pool.

``reading()`` is the command line that runs this in a mount namespace that has a kernel with its
modules, and whose /dev has no KVM, which is not usable everywhere.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.examples.documents import IN_SOAK, Block, blocks
from tests.examples.place import REPOSITORY, debian, serve_as_docker_io
from tests.support.bus_daemon import Bus, session_bus
from tests.support.kernel import Kernel, debian_kernel, initramfs
from tests.support.libvirt_host import LibvirtHost, private_host, session_host
from tests.support.privileges import as_root
from tests.support.registry import Registry
from tests.support.soak import FACTOR
from tests.support.terminal import run_on_terminal

_FIRST_STEPS = REPOSITORY / "docs" / "first-steps.md"
_SETUP_BLOCKS = 2
"""How many blocks of first-steps.md a reader needs for any other document."""
_PATIENCE = 200
"""Seconds for all commands of a document."""
_PROMPT, _ANSWER = "the shell of the machine", "exit"
"""What a machine on the console shows, and what ends it."""

_NAMESPACE = """
mkdir "$1/dev" && mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for name in null zero full random urandom tty fd stdin stdout stderr ptmx; do
  cp --archive "/dev/$name" "$1/dev/"
done
for name in pts shm; do mkdir "$1/dev/$name" && mount --rbind "/dev/$name" "$1/dev/$name"; done
mount --bind "$1/boot" /boot
mkdir -p /usr/lib/modules && mount --bind "$2" /usr/lib/modules
umount --recursive --lazy /dev
mount --move "$1/dev" /dev
shift 2
exec "$@"
"""


@contextlib.contextmanager
def reading(kind: str, document: Path) -> Iterator[list[str | Path]]:
    """The command line that reads a document.

    Args:
        kind: Of the reader: "user" or "root".
        document: The Markdown file.
    """
    with tempfile.TemporaryDirectory(prefix="reading-") as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)
        modules = _add_kernel(directory / "boot").modules.parent
        namespace = ("unshare", "--mount", "--", "sh", "-euc", _NAMESPACE, "sh", directory, modules)
        module = (sys.executable, "-m", "tests.examples.reader", kind, document)
        yield as_root(*namespace, "env", f"PATH={os.environ['PATH']}", *module)


def _add_kernel(boot: Path) -> Kernel:
    """A kernel and its initrd, as Debian installs them; return the kernel."""
    boot.mkdir()
    kernel = debian_kernel()
    version = kernel.image.name.removeprefix("vmlinuz-")
    shutil.copy(kernel.image, boot / kernel.image.name)
    (boot / f"initrd.img-{version}").write_bytes(initramfs(kernel))
    return kernel


def is_run(block: Block) -> bool:
    """Return whether the tests run a block: those that boot machines are for ``make soak``."""
    return not block.elsewhere or (FACTOR > 1 and block.elsewhere == IN_SOAK)


def main(kind: str, document: Path) -> int:
    """Read a document; return the exit status of the shell."""
    commands = _commands(document)
    if document != _FIRST_STEPS:
        commands = [*_commands(_FIRST_STEPS)[:_SETUP_BLOCKS], *commands]
    script = "\n".join(commands)
    with (
        tempfile.TemporaryDirectory(prefix="reader-") as scratch,
        Registry(Path(scratch) / "registry") as registry,
        session_host() if kind == "user" else private_host() as host,
    ):
        registry.store(debian(), "library/debian:13")
        registry.store(debian(), "library/busybox:1")
        serve_as_docker_io(host.directory / "home", registry)
        os.chown(host.directory / "home" / ".config", host.owner, -1)
        if kind == "root":
            _take_for_the_system(host)
        with _session(host) as bus:
            environment = _environment(host) | {"DBUS_SESSION_BUS_ADDRESS": bus.address}
            ended = run_on_terminal(
                *_as_reader(host),
                *("bash", "-euxo", "pipefail", "-c", script),
                env=environment,
                cwd=REPOSITORY,
                answers=[(_PROMPT, _ANSWER)] * script.count(" -it "),
                patience=_PATIENCE,
            )
    sys.stdout.write(ended.stdout)
    return ended.returncode


def _commands(document: Path) -> list[str]:
    return [block.commands for block in blocks(document) if is_run(block)]


def _as_reader(host: LibvirtHost) -> list[str]:
    """The command that runs a program as the reader, who can enter the checkout."""
    run = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    return host.as_owner(sys.executable, "-c", run)


def _take_for_the_system(host: LibvirtHost) -> None:
    """Make this libvirtd the one of the system, for what this process starts."""
    place = Path("/run/libvirt")
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", host.directory / "run" / "libvirt", place], check=True)


@contextlib.contextmanager
def _session(host: LibvirtHost) -> Iterator[Bus]:
    """A session bus of the reader's; what it has started ends with the host."""
    directory = host.directory / "bus"
    directory.mkdir()
    os.chown(directory, host.owner, -1)
    environment = _environment(host)
    with session_bus(directory, environment=environment, inside=_as_reader(host)) as bus:
        yield bus


def _environment(host: LibvirtHost) -> dict[str, str]:
    """Of the reader: without the virtual environment of the tests."""
    home = host.directory / "home"
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        # busctl would show long output page by page.
        "SYSTEMD_PAGER": "",
        "HOME": str(home),
        # dbus-daemon would look in the home directory that the user database names.
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_RUNTIME_DIR": str(host.directory / "run"),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
