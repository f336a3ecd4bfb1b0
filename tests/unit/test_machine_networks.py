# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options ``network`` and ``publish``."""

import pytest

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.domains import Network, NetworkKind, PublishedPort, Transport
from virtlayer.service.machines.networks import parse_network, parse_ports

PORT = PublishedPort(address="127.0.0.1", host=8080, guest=80, transport=Transport.TCP)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Network(kind=NetworkKind.DEFAULT)),
        ("user", Network(kind=NetworkKind.USER)),
        ("none", Network(kind=NetworkKind.NONE)),
        ("network:a b", Network(kind=NetworkKind.NETWORK, name="a b")),
        ("bridge:br0", Network(kind=NetworkKind.BRIDGE, name="br0")),
    ],
)
def test_network_has_a_kind_and_perhaps_a_name(text: str | None, expected: Network) -> None:
    assert parse_network(text, ()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "default",
        "network",
        "network:",
        "bridge:a\nb",
        "user:x",
        "passt",
        "network:" + "x" * 256,
    ],
)
def test_other_networks_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r'"network".*network:NAME'):
        parse_network(text, ())


def test_published_ports_need_the_network_user() -> None:
    expected = Network(kind=NetworkKind.USER, ports=(PORT,))
    assert parse_network(None, (PORT,)) == expected
    assert parse_network("user", (PORT,)) == expected
    for text in ("none", "network:default", "bridge:br0"):
        with pytest.raises(InvalidArgument, match='"publish" requires'):
            parse_network(text, (PORT,))


def test_ports_are_values() -> None:
    assert parse_ports([("127.0.0.1", 8080, 80, "tcp")]) == (PORT,)
    [udp, ipv6] = parse_ports([("", 53, 53, "udp"), ("0:0::1", 53, 53, "tcp")])
    assert (udp.address, udp.transport, ipv6.address) == ("", Transport.UDP, "::1")


@pytest.mark.parametrize(
    "port",
    [
        ("localhost", 1, 1, "tcp"),
        ("127.0.0.1\n", 1, 1, "tcp"),
        ("", 0, 1, "tcp"),
        ("", 1, 65536, "tcp"),
        ("", 1, 1, "sctp"),
    ],
)
def test_invalid_port_is_refused(port: tuple[str, int, int, str]) -> None:
    with pytest.raises(InvalidArgument, match='"publish"'):
        parse_ports([port])


def test_port_of_the_host_is_published_once() -> None:
    same = [("", 80, 80, "tcp"), ("", 80, 81, "tcp")]
    with pytest.raises(InvalidArgument, match="80/tcp of the host is given twice"):
        parse_ports(same)
    assert len(parse_ports([("", 80, 80, "tcp"), ("", 80, 80, "udp")])) == 2
