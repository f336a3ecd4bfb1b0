# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each error about machines, with its exit status and its exact text.

The jobs are started on the bus, because ``virtlayer run`` has the exit statuses of podman.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.machines.command_user import command_user
from tests.support.boot_images import VERSION, built_in, kernel_that_powers_off, modules
from tests.support.defined_machines import defined_machine
from tests.support.images import Content, Entry, file, image, layer
from tests.support.job_watch import MANAGER, ROOT, Watch, watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host
from tests.support.pool_user import PoolUser
from tests.support.registry import Registry
from virtlayer.client.exits import Exit
from virtlayer.sizes import MIB, TIB

OTHER = "6.2.0-test"


def with_kernels(*versions: str) -> Content:
    """An image with kernels."""
    files: list[Entry] = []
    for version in versions:
        files.append(file(f"boot/vmlinuz-{version}", kernel_that_powers_off(version)))
        files += modules({"modules.builtin": built_in("virtio_net")}, version=version)
    return image([layer(*files)])


IMAGES = {
    "small:1": image([layer(file("etc/motd", b"hello"))]),
    "kernel:1": with_kernels(VERSION),
    "kernels:1": with_kernels(VERSION, OTHER),
    "arm:1": image([layer(file("etc/motd", b"hello"))], platform="linux/arm64"),
}


@pytest.fixture(scope="module")
def host() -> Iterator[LibvirtHost]:
    with machine_host() as host:
        yield host


@pytest.fixture(scope="module")
def user(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolUser]:
    with (
        Registry(tmp_path_factory.mktemp("registry")) as registry,
        command_user(host, registry, tmp_path_factory.mktemp("user")) as running,
        defined_machine(host, "foreign", Path("/dev/null")),
    ):
        for name, content in IMAGES.items():
            registry.store(content, name)
        yield running


@dataclass(frozen=True, slots=True)
class Case:
    """A call of CreateDomain that fails.

    Attributes:
        error: The name of the error.
        status: The exit status of the command that waits for the job.
        text: What the command prints.
        image: The image.
        name: The name of the machine.
        options: The options.
    """

    error: str
    status: Exit
    text: str
    image: str = "small:1"
    name: str = ""
    options: dict[str, Variant] = field(default_factory=dict)


KERNEL = {"kernel": Variant("s", "kernel:1")}
CASES = [
    Case(
        "DomainExists",
        Exit.CONFLICT,
        'A domain "foreign" exists in libvirt. Choose another name, or remove it: see "virsh '
        "--connect '{uri}' list --all\".",
        name="foreign",
        options=KERNEL,
    ),
    Case(
        "ImageNotFound",
        Exit.NOT_FOUND,
        'The pool "{pool}" has no image "nothing". Pull it first, or name its source, such as '
        'docker://docker.io/library/debian:13; "virtlayer images" lists the images.',
        image="nothing",
    ),
    Case(
        "NoKernel",
        Exit.NOT_FOUND,
        'The image "small:1" (--kernel) has no kernel: neither /usr/lib/modules/VERSION/vmlinuz '
        "nor /boot/vmlinuz-VERSION.",
        options={"kernel": Variant("s", "small:1")},
    ),
    Case(
        "AmbiguousKernel",
        Exit.USAGE,
        'The image "kernels:1" has 2 kernels: 6.1.0-test, 6.2.0-test. Choose one with '
        "--kernel-version.",
        options={"kernel": Variant("s", "kernels:1")},
    ),
    Case(
        "Unsupported",
        Exit.FAILED,
        'The image "arm:1" is for linux/arm64, and this host is linux/amd64. Pull the image with '
        "--platform=linux/amd64.",
        image="arm:1",
        options=KERNEL,
    ),
    Case(
        "InUse",
        Exit.CONFLICT,
        "The tcp port {registry} of this host is in use. Publish another one, or end the program "
        "that uses it.",
        options=KERNEL,  # and the port of the registry
    ),
    Case(
        "InvalidArgument",
        Exit.USAGE,
        "The machine cannot have 900 TiB of memory: this host has {anything}.",
        options=KERNEL | {"memory": Variant("t", 900 * TIB)},
    ),
    Case(
        "InvalidArgument",
        Exit.USAGE,
        'libvirt has no network "none". See "virsh --connect \'{uri}\' net-list --all".',
        options=KERNEL | {"network": Variant("s", "network:none")},
    ),
    Case(
        "DomainFailed",
        Exit.FAILED,
        'The machine "lost" stopped before its init ran. The last lines of its QEMU: {anything}',
        name="lost",
        options=KERNEL,
    ),
]


async def pull_images(user: PoolUser, watch: Watch) -> None:
    """Pull the images, if that was not done before."""
    if await watch.ask(ROOT, MANAGER, "ListImages", "s", user.pool):
        return
    for name, content in IMAGES.items():
        platform = {"platform": Variant("s", "linux/arm64")} if name == "arm:1" else {}
        source = f"docker://{user.registry.host}/{name}"
        job = await watch.finished(await watch.pull(source, user.pool, **platform))
        assert job["State"] == "done", (content, job)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.error} {case.name}".strip())
async def test_error_has_its_status_and_text(user: PoolUser, case: Case) -> None:
    address, _, port = user.registry.host.rpartition(":")
    options = {
        "type": Variant("s", "qemu"),
        "memory": Variant("t", 64 * MIB),
        "network": Variant("s", "user" if case.error == "InUse" else "none"),
    }
    if case.error == "InUse":
        options["publish"] = Variant("a(sqqs)", [[address, int(port), 80, "tcp"]])
    async with watching(user.daemon.bus.address) as watch:
        await pull_images(user, watch)
        create = ("CreateDomain", "sssa{sv}", user.pool, case.image, case.name)
        number, path = await watch.ask(ROOT, MANAGER, *create, options | case.options)
        job = await watch.finished(path)
        assert (job["State"], job["Error"]) == ("failed", f"org.virtlayer1.Error.{case.error}")
        assert await watch.ask(ROOT, MANAGER, "ListDomains") == []
    ended = await user.fail("job", "wait", str(number))
    values = {"uri": user.host.uri, "pool": user.pool, "registry": user.registry.host}
    parts = (re.escape(part.format(**values)) for part in case.text.split("{anything}"))
    pattern = f"virtlayer: {'.+'.join(parts)}\n"
    assert re.fullmatch(pattern, ended.stderr), ended.stderr
    assert ended.status == case.status
