# SPDX-License-Identifier: LGPL-2.1-or-later
"""``make recording``: runs ``virtlayer run`` in a terminal, and writes docs/run.svg.

Registry, libvirtd, bus and virtlayerd are real and private to this run. ``docker.io`` is the
registry on loopback, with a Debian that mmdebstrap has made. Where the processor has no KVM, the
machine is emulated; waiting is cut to 1.5 seconds.
"""

import contextlib
import os
import tempfile
from pathlib import Path

from tests.examples.place import serve_as_docker_io
from tests.support.boot_images import debian_files
from tests.support.bus_daemon import session_bus
from tests.support.images import image, layer
from tests.support.machine_host import machine_host
from tests.support.mmdebstrap import debian_archive
from tests.support.registry import Registry
from tests.support.virtlayerd import virtlayerd

from demo.__main__ import has_kvm, platform
from demo.recording.animation import animation
from demo.recording.frames import frames
from demo.recording.session import Printed, Session
from demo.showing import BIN, show

_PICTURE = Path(__file__).resolve().parents[2] / "docs" / "run.svg"
_TITLE = (
    "A terminal: virtlayer --user run --rm -it docker://docker.io/library/debian:13 pulls the image"
    " and gives a shell in a new machine, which has a kernel of its own; after exit,"
    " virtlayer images shows the image in the pool."
)
_PATIENCE = 180.0
"""Seconds for a pull, or until an emulated machine has started."""


def main() -> None:
    """Record, and write the picture."""
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="virtlayer-demo-")))
        work.chmod(0o755)
        registry = stack.enter_context(Registry(work / "registry"))
        archive = debian_archive("trixie", "rm -rf /var/cache/apt/* /var/lib/apt/lists/*")
        debian = image(
            [layer(raw=archive)], platform=platform(), config={"config": {"Cmd": ["bash"]}}
        )
        registry.store(debian, "library/debian:13")
        kernel = registry.store(image([layer(*debian_files())], platform=platform()), "kernel:1")
        host = stack.enter_context(machine_host(kvm=has_kvm()))
        host.start_pool("default")
        home = work / "home"
        for name in ("bus", "home", "home/config"):
            (work / name).mkdir()
        (home / ".config").symlink_to("config")
        serve_as_docker_io(home, registry)
        bus = stack.enter_context(session_bus(work / "bus"))
        settings = '[machine]\nkernel = "kernel:1"\n'
        daemon = stack.enter_context(virtlayerd(host, bus, home, settings=settings))
        environment = daemon.environment | {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(home),
        }
        show("virtlayer", "--user", "pull", "--tls-verify=false", kernel, env=environment)
        _PICTURE.write_text(animation(frames(record(environment)), _TITLE))
        print(f"{_PICTURE}: {_PICTURE.stat().st_size / 1000:.0f} kB")


def record(environment: dict[str, str]) -> list[Printed]:
    """Type the commands; return what the terminal has shown."""
    with Session(environment) as session:
        session.read_until(Session.PROMPT, 10)
        session.rest(0.5)
        session.type("virtlayer --user run --rm -it docker://docker.io/library/debian:13")
        session.read_until("# ", _PATIENCE)
        session.rest(0.8)
        for command in ("grep PRETTY /etc/os-release", "uname -sr", "df -h /"):
            session.type(command)
            session.read_until("# ", 30)
            session.rest(0.8)
        session.type("exit")
        session.read_until(f"\n{Session.PROMPT}", 60)
        session.rest(0.8)
        session.type("virtlayer --user images")
        session.read_until(f"\n{Session.PROMPT}", 30)
        session.rest(0.5)
        return session.printed


if __name__ == "__main__":
    main()
