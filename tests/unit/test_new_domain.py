# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of a new machine."""

from pathlib import Path
from typing import Any

import pytest

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.domains import DomainType
from virtlayer.protocol.names import parse_image_name, parse_pool_name, parse_volume_name
from virtlayer.service.machines.startup import StartupOptions
from virtlayer.service.operations.machines.new_domain import CreateDomainRequest
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.sizes import GIB, MIB

SECRET = "swordfish-2kd8"


def request(**options: Any) -> CreateDomainRequest:
    fields: dict[str, Any] = {
        "pool": parse_pool_name("default"),
        "image": parse_image_name("demo:1"),
        "volume": NewVolume(name=parse_volume_name("demo")),
    }
    return CreateDomainRequest(**fields | options)


def test_defaults_are_one_gib_and_two_processors() -> None:
    default = request()
    assert (default.memory, default.processors, default.start) == (GIB, 2, True)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"memory": MIB}, '"memory": 1 MiB'),
        ({"memory": 2**60}, '"memory"'),
        ({"processors": 0}, '"vcpus": 0'),
        ({"processors": 4096}, '"vcpus": 4096'),
        ({"ephemeral": True, "autostart": True}, '"ephemeral".*"autostart"'),
        ({"type": DomainType.LXC, "kernel": Path("/boot/vmlinuz")}, '"kernel".*"type=lxc"'),
        ({"type": DomainType.LXC, "kernel_version": "6.1"}, '"kernel-version"'),
        ({"type": DomainType.LXC, "user_data": b"x"}, '"user-data-fd"'),
        (
            {
                "type": DomainType.LXC,
                "volume": NewVolume(name=parse_volume_name("demo"), hostname="web"),
            },
            "--format=dir",
        ),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        request(**options)


def test_secrets_are_not_shown() -> None:
    startup = StartupOptions(environment=(f"TOKEN={SECRET}",))
    assert SECRET not in repr(request(startup=startup, user_data=SECRET.encode()))
