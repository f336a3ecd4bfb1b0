# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ports of ``virtlayer run``: what podman 5.4 accepts and refuses."""

from argparse import ArgumentTypeError

import pytest

from virtlayer.client.published_ports import Port, published_ports

ALL = "0.0.0.0"  # noqa: S104 -- as podman


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("8080:80", [(ALL, 8080, 80, "tcp")]),
        (":8080:80", [(ALL, 8080, 80, "tcp")]),
        ("127.0.0.1:8080:80/udp", [("127.0.0.1", 8080, 80, "udp")]),
        ("10.0.0.1:8080:80", [("10.0.0.1", 8080, 80, "tcp")]),
        ("[::1]:8080:80", [("::1", 8080, 80, "tcp")]),
        ("8080:80/TCP", [(ALL, 8080, 80, "tcp")]),
        ("8000-8001:80-81/udp", [(ALL, 8000, 80, "udp"), (ALL, 8001, 81, "udp")]),
        ("8080:80,53:53/udp", [(ALL, 8080, 80, "tcp"), (ALL, 53, 53, "udp")]),
        ("65535:1", [(ALL, 65535, 1, "tcp")]),
    ],
)
def test_ports(text: str, ports: list[Port]) -> None:
    assert published_ports(text) == ports


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("80", "has no port of the host"),
        (":80", "has no port of the host"),
        ("127.0.0.1::80", "has no port of the host"),
        ("", "has no port of the host"),
        ("8080:80,", "has no port of the host"),
        ("0:80", '"0" in "0:80" is not a port'),
        ("8080:0", '"0" in "8080:0" is not a port'),
        ("8080:", '"" in "8080:" is not a port'),
        ("70000:80", "is not a port"),
        ("99999999999:80", "is not a port"),
        (" 8080:80", "is not a port"),
        ("+1:80", "is not a port"),
        ("٣:80", "is not a port"),
        ("x:80", "is not a port"),
        ("81-80:80-81", "is not a port"),
        ("8000-8001:80", "different lengths"),
        ("8080:80/sctp", "is not tcp or udp"),
        ("8080:80/", "is not tcp or udp"),
        ("::1:80:80", "An IPv6 address has brackets"),
        ("1:2:3:4", "is not of the form"),
        ("localhost:80:80", '"localhost" is not an IP address'),
        ("[]:80:80x", "is not a port"),
    ],
)
def test_invalid_ports_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        published_ports(text)
    assert reason in str(caught.value)
