# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user's session as a reader of the documents has it, and the images that they name.

There is a pool ``default``, virtlayerd is on the session bus, and ``docker.io`` is a registry on
loopback: what the documents say is run to the letter.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.support.bus_daemon import session_bus
from tests.support.images import Content, directory, file, image, layer, symlink, whiteout
from tests.support.libvirt_host import LibvirtHost, private_host
from tests.support.registry import Registry
from tests.support.virtlayerd import Daemon, virtlayerd

REPOSITORY = Path(__file__).parent.parent.parent
EXAMPLES = REPOSITORY / "examples"
SOURCE = "docker://docker.io/library/debian:13"
SHELL = """\
#!/bin/sh
echo 'the shell of the machine'
while read -r line && [ "$line" != exit ]; do sh -c "$line"; done
"""
"""What the image has as bash: without a prompt, whose colours depend on the terminal."""
_PATIENCE = 120
"""Seconds after which a command that has not ended fails the test."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document's commands are run.

    Attributes:
        daemon: The running virtlayerd.
        host: Its libvirtd.
        registry: What ``docker.io`` is here.
        environment: Of the commands.
    """

    daemon: Daemon
    host: LibvirtHost
    registry: Registry
    environment: dict[str, str]

    def run(
        self, *command: str | Path, status: int = 0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the reader, in his home; it must end with this status."""
        ended = subprocess.run(
            command,
            cwd=self.environment["HOME"],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert ended.returncode == status, f"{ended.stdout}{ended.stderr}\n{self.daemon.log}"
        return ended


@contextlib.contextmanager
def place(
    directory: Path,
    *,
    new_host: Callable[[], AbstractContextManager[LibvirtHost]] = private_host,
) -> Iterator[Place]:
    """A session with an empty pool ``default``; nothing of it is left.

    Args:
        directory: An empty one.
        new_host: Runs its libvirtd; ``machine_host`` runs one whose machines have logs.
    """
    home = directory / "home"
    for name in ("bus", "home"):
        (directory / name).mkdir()
    with (
        Registry(directory / "registry") as registry,
        new_host() as host,
        session_bus(directory / "bus") as bus,
        virtlayerd(host, bus, home) as daemon,
    ):
        registry.store(debian(), "library/debian:13")
        home.joinpath("config").mkdir(exist_ok=True)
        home.joinpath(".config").symlink_to("config")
        serve_as_docker_io(home, registry)
        host.start_pool("default")
        environment = daemon.environment | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LIBVIRT_DEFAULT_URI": host.uri,
        }
        yield Place(daemon, host, registry, environment)


def debian() -> Content:
    """What the documents need of a Debian: some files, and a shell that a machine can run."""
    base = layer(
        directory("etc"),
        directory("root", mode=0o700),
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n"),
        file("etc/group", b"root:x:0:\nshadow:x:42:\n"),
        file("etc/shadow", b"root:*:20000:0:99999:7:::\n", mode=0o640, gid=42),
        file("etc/debian_version", b"13.8\n"),
        file("usr/share/doc/README", b"read me\n"),
        file("usr/lib/libbig.so", os.urandom(4_000_000)),
        *map(directory, ("bin", "dev", "proc", "sys")),
        file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755),
        *(symlink(f"bin/{name}", "busybox") for name in ("sh", "mount", "sleep", "sync", "httpd")),
        file("bin/bash", SHELL.encode(), mode=0o755),
    )
    top = layer(whiteout("usr/share/doc"), compression="zstd")
    config = {"config": {"Cmd": ["bash"], "Env": ["PATH=/bin"]}}
    return image([base, top], config=config)


def serve_as_docker_io(home: Path, registry: Registry) -> None:
    """A mirror, as containers-registries.conf(5) configures it for one user."""
    containers = home / ".config" / "containers"
    containers.mkdir(parents=True)
    (containers / "registries.conf").write_text(
        f'[[registry]]\nprefix = "docker.io"\nlocation = "{registry.host}"\ninsecure = true\n'
    )
