# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls of CreateDomain, as requests to the operation; and invalid options, as errors."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from dbus_next.message import Message
from dbus_next.signature import Variant

from virtlayer.errors import InvalidArgument, InvalidReference, UnknownOption, VirtlayerError
from virtlayer.protocol.domains import (
    DomainType,
    Network,
    NetworkKind,
    PublishedPort,
    Transport,
)
from virtlayer.protocol.names import parse_pool_name
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.domain_request import domain_request, with_secrets
from virtlayer.service.bus.options.machines import CreateDomainOptions
from virtlayer.service.bus.options.parsing import parse_options
from virtlayer.service.operations.machines.new_domain import CreateDomainRequest
from virtlayer.service.source.passed_descriptor import secrets_deadline
from virtlayer.sizes import GIB, MIB

POOL = parse_pool_name("default")
SECRET = "swordfish-7hk3"


def options_of(
    options: dict[str, Variant], belongings: contextlib.ExitStack, *descriptors: int
) -> CreateDomainOptions:
    call = Call(Message(path="/", member="CreateDomain", unix_fds=list(descriptors)))
    belongings.callback(call.close)
    return parse_options(CreateDomainOptions, options, call, belongings)


def request(
    image: str = "web:1", name: str = "", *, session: bool = True, **options: Variant
) -> CreateDomainRequest:
    named = {key.replace("_", "-"): value for key, value in options.items()}
    with contextlib.ExitStack() as belongings:
        given = options_of(named, belongings)
        return domain_request(given, image=image, pool=POOL, name=name, session=session)


def refused(kind: type[VirtlayerError], *arguments: str, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        request(*arguments, **options)
    return caught.value.message


def test_a_machine_without_options_has_the_documented_defaults() -> None:
    made = request()
    assert (made.memory, made.processors, made.type) == (GIB, 2, None)
    assert made.network == Network(kind=NetworkKind.DEFAULT)
    assert (made.name, made.pull, made.kernel, made.user_data) == (None, None, None, None)
    assert (made.start, made.autostart, made.ephemeral) == (True, False, False)
    assert not made.startup.terminal
    assert not made.startup.interactive


def test_every_option_has_its_place() -> None:
    made = request(
        "web:1",
        "web",
        memory=Variant("t", 512 * MIB),
        vcpus=Variant("u", 4),
        type=Variant("s", "qemu"),
        publish=Variant("a(sqqs)", [["127.0.0.1", 8080, 80, "tcp"], ["", 53, 5353, "udp"]]),
        kernel=Variant("s", "kernel:6"),
        kernel_version=Variant("s", "6.12"),
        command=Variant("as", ["-c", "true"]),
        entrypoint=Variant("as", ["/bin/sh"]),
        environment=Variant("as", [f"TOKEN={SECRET}"]),
        user=Variant("s", "1000:100"),
        working_directory=Variant("s", "/srv"),
        tty=Variant("b", True),
        interactive=Variant("b", True),
        start=Variant("b", False),
        ephemeral=Variant("b", True),
        volume_size=Variant("t", 2 * GIB),
        hostname=Variant("s", "web"),
    )
    assert (made.name, made.image, made.memory, made.processors) == ("web", "web:1", 512 * MIB, 4)
    assert made.type is DomainType.QEMU
    assert made.network == Network(
        kind=NetworkKind.USER,
        ports=(
            PublishedPort(address="127.0.0.1", host=8080, guest=80, transport=Transport.TCP),
            PublishedPort(address="", host=53, guest=5353, transport=Transport.UDP),
        ),
    )
    assert (made.kernel, made.kernel_version) == ("kernel:6", "6.12")
    assert made.startup.command == ("-c", "true")
    assert made.startup.entrypoint == ("/bin/sh",)
    assert made.startup.environment == (f"TOKEN={SECRET}",)
    assert (made.startup.user, made.startup.working_directory) == ("1000:100", "/srv")
    assert made.startup.terminal
    assert made.startup.interactive
    assert not made.start
    assert made.ephemeral
    assert (made.volume.name, made.volume.size) == ("web.qcow2", 2 * GIB)
    assert made.volume.hostname == "web"
    assert SECRET not in repr(made)


def test_a_source_is_pulled_first_under_its_usual_name() -> None:
    made = request("docker://docker.io/library/debian:13", tls_verify=Variant("b", False))
    assert made.pull is not None
    assert str(made.pull.source) == "docker://docker.io/library/debian:13"
    assert (made.pull.pool, made.image, made.pull.image_name) == (POOL, "debian:13", "debian:13")
    assert not made.pull.access.tls_verify


@pytest.mark.parametrize("image", ["debian:13", "docker.io/library/debian:13", "a/b@sha256:0"])
def test_a_name_without_a_transport_is_an_image_of_the_pool(image: str) -> None:
    made = request(image)
    assert (made.image, made.pull) == (image, None)


def test_access_to_a_source_is_refused_for_an_image_of_the_pool() -> None:
    for name, value in (
        ("platform", Variant("s", "linux/arm64")),
        ("username", Variant("s", "me")),
        ("tls_verify", Variant("b", False)),
        ("authfile", Variant("s", "/auth.json")),
    ):
        message = refused(InvalidArgument, "web:1", **{name: value})
        option = name.replace("_", "-")
        assert message.startswith(f'The option "{option}" is for images that are pulled first')


def test_a_path_is_refused_on_the_system_bus() -> None:
    kernel = Variant("s", "/boot/vmlinuz")
    assert str(request(kernel=kernel).kernel) == "/boot/vmlinuz"
    message = refused(InvalidArgument, kernel=kernel, session=False)
    assert '"kernel" cannot be a path (/boot/vmlinuz) on the system bus' in message
    message = refused(InvalidArgument, "oci:/tmp/layout:1", session=False)
    assert '"source-fd"' in message


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"memory": Variant("t", 1)}, 'Invalid option "memory": 1 B.'),
        ({"vcpus": Variant("u", 0)}, 'Invalid option "vcpus": 0.'),
        ({"type": Variant("s", "xen")}, 'Invalid option "type": "xen". Known: kvm, qemu, lxc.'),
        ({"type": Variant("s", "\n" * 200)}, 'Invalid option "type": '),
        ({"network": Variant("s", "bridge:")}, 'Invalid option "network": "bridge:".'),
        (
            {
                "network": Variant("s", "none"),
                "publish": Variant("a(sqqs)", [["", 80, 80, "tcp"]]),
            },
            'The option "publish" requires the option "network" to be "user", not "none"',
        ),
        (
            {"publish": Variant("a(sqqs)", [["localhost", 80, 80, "tcp"]])},
            'Invalid option "publish": "localhost" is not an IP address.',
        ),
        (
            {"publish": Variant("a(sqqs)", [["", 80, 80, "sctp"]])},
            'Invalid option "publish": the transport "sctp" is neither tcp nor udp.',
        ),
        ({"publish": Variant("a(sqqs)", [["", 0, 80, "tcp"]])}, '"publish": 0 is not a port.'),
        ({"kernel": Variant("s", "")}, "Invalid image name"),
        ({"command": Variant("as", ["a\0b"])}, 'Invalid option "command": '),
        ({"environment": Variant("as", [SECRET])}, 'Invalid option "environment": '),
        ({"environment": Variant("as", [f"A={SECRET}\0"])}, 'Invalid option "environment": '),
        ({"working_directory": Variant("s", "srv")}, 'Invalid option "working-directory": "srv"'),
        (
            {"ephemeral": Variant("b", True), "autostart": Variant("b", True)},
            'The option "ephemeral" and the option "autostart" exclude each other',
        ),
        ({"volume_size": Variant("t", 5)}, 'Invalid option "volume-size": '),
        ({"hostname": Variant("s", "a_b")}, 'Invalid hostname "a_b"'),
        ({"vcpus": Variant("t", 2)}, 'The option "vcpus" must be of type "u", not "t".'),
    ],
)
def test_an_invalid_option_is_named(options: dict[str, Variant], text: str) -> None:
    message = refused(InvalidArgument, **options)
    assert text in message
    assert SECRET not in message
    assert message.isprintable()


@pytest.mark.parametrize("name", ["a/b", "x" * 256, "x" * 250, ".", ".hidden", "a\nb"])
def test_an_invalid_name_is_refused(name: str) -> None:
    assert "Invalid " in refused(InvalidArgument, "web:1", name)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("", InvalidArgument),
        ("a\nb", InvalidArgument),
        ("docker://", InvalidReference),
        ("containers-storage:x", InvalidReference),
        ("oci:relative", InvalidReference),
    ],
)
def test_an_invalid_image_is_refused(image: str, kind: type[VirtlayerError]) -> None:
    assert refused(kind, image)


def test_an_option_of_another_call_is_unknown() -> None:
    for name in ("cache", "volume", "format", "size", "replace"):
        assert f'Unknown option "{name}"' in refused(UnknownOption, **{name: Variant("b", True)})


async def test_secrets_are_read_from_descriptors() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"#cloud-config\n")
    os.close(writing)
    with contextlib.ExitStack() as belongings:
        given = options_of({"user-data-fd": Variant("h", 0)}, belongings, reading)
        made = domain_request(given, image="web:1", pool=POOL, name="web", session=True)
        made = await with_secrets(made, given, secrets_deadline())
    assert made.user_data == b"#cloud-config\n"
    assert "cloud-config" not in repr(made)


async def test_too_much_user_data_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "user-data"
    large.write_bytes(b"x" * (MIB + 1))
    with contextlib.ExitStack() as belongings, large.open("rb") as file:
        given = options_of({"user-data-fd": Variant("h", 0)}, belongings, os.dup(file.fileno()))
        made = domain_request(given, image="web:1", pool=POOL, name="web", session=True)
        with pytest.raises(InvalidArgument, match='"user-data-fd" gives more than 1 MiB'):
            await with_secrets(made, given, secrets_deadline())
