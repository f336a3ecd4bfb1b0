# SPDX-License-Identifier: LGPL-2.1-or-later
"""``make demo``: an image from Debian's packages becomes a qcow2 chain, and then a machine.

Registry, libvirtd, bus and virtlayerd are real and private to this run. The services of the machine
are not used, and nothing is left when the demo ends or is interrupted.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.bus_daemon import session_bus
from tests.support.images import Content, file, image, layer, symlink, whiteout
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host
from tests.support.registry import Registry

from demo.machine import kernel_image, show_machines
from demo.showing import BIN, headline, show, show_short

PACKAGES = ("base-files", "libc6", "busybox-static", "tzdata", "perl-base")


def main() -> None:
    """Show all steps, from packages to a volume with its files, and to a machine."""
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="virtlayer-demo-")))

        headline("An image: Debian packages as layers, then one that replaces and deletes files")
        demo = build_image(work)

        headline("A registry, a libvirtd with a pool, a bus, and virtlayerd on it")
        registry = stack.enter_context(Registry(work / "registry"))
        source = registry.store(demo, "demo:1")
        host = stack.enter_context(machine_host(kvm=has_kvm()))
        pool = host.start_pool("default")
        (work / "bus").mkdir()
        bus = stack.enter_context(session_bus(work / "bus"))
        environment = host.environment | {"DBUS_SESSION_BUS_ADDRESS": bus.address}
        stack.enter_context(virtlayerd(host, environment, work / "virtlayerd.log"))
        print(f'{source}\npool "default" is {pool}')

        headline("Pull")
        pull: list[str | Path] = [BIN / "virtlayer", "--user", "pull", "--tls-verify=false", source]
        show(*pull, env=environment)
        headline("Pull again: nothing has changed, so nothing is downloaded or built")
        show(*pull, env=environment)

        headline("What libvirt and qemu see")
        show_short("virsh", "--quiet", "--connect", host.uri, "vol-list", "default")
        top = pool / top_volume(pull, environment)
        show_short("qemu-img", "info", "--backing-chain", top, keep=("image:", "backing file:"))

        headline("What a machine would see: /etc/issue is new, /usr/share/doc is gone")
        raw = work / "top.raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", top, raw], check=True)
        show("e2fsck", "-fn", raw)
        no_pager = os.environ | {"DEBUGFS_PAGER": "__none__"}
        for command in ("cat /etc/issue", "ls -p /usr/share"):
            show("debugfs", "-R", command, raw, env=no_pager)

        kernel = registry.store(kernel_image(platform()), "kernel:1")
        show_machines(kernel, environment)


def build_image(work: Path) -> Content:
    """Make an image with a layer for every package, and two by hand on top."""
    packages = work / "packages"
    packages.mkdir()
    # As root, apt would download as another user, who may not write here.
    download = ["apt-get", "download", "--quiet", "--option=APT::Sandbox::User=root"]
    command = [*download, *PACKAGES]
    if subprocess.run(command, cwd=packages, stdout=subprocess.DEVNULL).returncode != 0:
        raise SystemExit('apt has no packages to download; try again after "apt-get update".')
    layers = []
    for name in PACKAGES:
        [package] = packages.glob(f"{name}_*.deb")
        unpacked: list[str | Path] = ["dpkg-deb", "--fsys-tarfile", package]
        archive = subprocess.run(unpacked, check=True, stdout=subprocess.PIPE).stdout
        layers.append(layer(raw=archive))
        print(f"{name:<16} {len(archive) / 1e6:5.1f} MB")
    layers.append(layer(file("etc/issue", b"Made of layers.\n"), symlink("usr/bin/sh", "busybox")))
    layers.append(layer(whiteout("usr/share/doc"), compression="zstd"))
    return image(layers, platform=platform())


def platform() -> str:
    """The platform of images for this machine."""
    words = {"x86_64": "amd64", "aarch64": "arm64"}
    return f"linux/{words.get(os.uname().machine, os.uname().machine)}"


def has_kvm() -> bool:
    """Whether machines may use KVM; virtlayer finds out whether it works."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


@contextlib.contextmanager
def virtlayerd(host: LibvirtHost, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run the daemon on the demo's bus and libvirtd; if anything fails, show what it logged."""
    command = host.as_owner(str(BIN / "virtlayerd"), "--session", "--connect", host.uri)
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as daemon,
    ):
        try:
            deadline = time.monotonic() + 60
            while not answers(environment):
                if daemon.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("virtlayerd does not start")
                time.sleep(0.1)
            yield
        except (SystemExit, subprocess.CalledProcessError):
            print(log.read_text(), file=sys.stderr)
            raise
        finally:
            daemon.send_signal(signal.SIGTERM)


def answers(environment: Mapping[str, str]) -> bool:
    """Whether virtlayerd is on the bus."""
    jobs: list[str | Path] = [BIN / "virtlayer", "--user", "jobs"]
    return subprocess.run(jobs, env=environment, capture_output=True).returncode == 0


def top_volume(pull: list[str | Path], environment: Mapping[str, str]) -> str:
    """Return the name of the chain's last volume, as a program reads it."""
    command = [*pull, "--json"]
    result = subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    return str(json.loads(result)["volume"])


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except subprocess.CalledProcessError as failure:
        raise SystemExit(f"{shlex.join(str(part) for part in failure.cmd)} failed") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
