# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options: what fits becomes typed, what does not is named."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.support.waiting import wait_until_closed
from virtlayer.errors import InvalidArgument, UnknownOption
from virtlayer.protocol.names import parse_pool_name
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.details import details_of
from virtlayer.service.bus.options.images import PullOptions
from virtlayer.service.bus.options.parsing import parse_options
from virtlayer.service.bus.options.source import SourceOptions
from virtlayer.service.bus.pull_request import pull_request
from virtlayer.service.operations.pull_chain import PullRequest
from virtlayer.service.source.access import Access
from virtlayer.service.source.platform import Platform
from virtlayer.service.source.reference import Reference, parse_reference
from virtlayer.sizes import MIB, TIB

POOL = parse_pool_name("default")


def parse(
    options: dict[str, Variant],
    *,
    kind: type[PullOptions | SourceOptions] = PullOptions,
    descriptors: tuple[int, ...] = (),
) -> PullOptions | SourceOptions:
    message = Message(path="/", member="Pull", unix_fds=list(descriptors))
    call = Call(message)
    with contextlib.ExitStack() as belongings:
        belongings.callback(call.close)
        return parse_options(kind, options, call, belongings)


def test_no_options_are_the_defaults() -> None:
    assert parse({}) == PullOptions(cache=True, tls_verify=True)


def test_every_option_has_its_place() -> None:
    given = parse(
        {
            "name": Variant("s", "mine"),
            "platform": Variant("s", "linux/arm64/v8"),
            "username": Variant("s", "me"),
            "password": Variant("s", "swordfish"),
            "tls-verify": Variant("b", False),
            "cert-dir": Variant("s", "/certs"),
            "cache": Variant("b", False),
            "size": Variant("t", 1 << 33),
        }
    )
    assert isinstance(given, PullOptions)
    assert (given.name, given.cache, given.size) == ("mine", False, 1 << 33)
    assert given.wanted_platform == Platform("linux", "arm64", "v8")
    assert (given.access.username, given.access.password) == ("me", "swordfish")
    assert not given.access.tls_verify
    assert given.access.cert_dir == Path("/certs")
    assert "swordfish" not in repr(given)
    assert "swordfish" not in repr(given.access)


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownOption, match=r'"tls_verify".*\bcache\b.*\btls-verify\b'):
        parse({"tls_verify": Variant("b", False)})


def test_an_option_of_pull_is_unknown_to_inspect() -> None:
    with pytest.raises(UnknownOption, match='"cache"'):
        parse({"cache": Variant("b", False)}, kind=SourceOptions)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("size", Variant("s", "16"), '"t"'),
        ("size", Variant("u", 16), '"t"'),
        ("cache", Variant("s", "no"), '"b"'),
        ("name", Variant("as", ["x"]), '"s"'),
        ("auth-fd", Variant("i", 0), '"h"'),
    ],
)
def test_a_wrong_type_is_named_with_the_right_one(key: str, value: Variant, expected: str) -> None:
    with pytest.raises(InvalidArgument, match=f'"{key}" must be of type {expected}'):
        parse({key: value})


def test_a_relative_path_means_nothing_to_the_daemon() -> None:
    with pytest.raises(InvalidArgument, match="absolute"):
        _ = parse({"authfile": Variant("s", "auth.json")}).access


def test_descriptors_are_taken_once_and_closed_with_their_owner() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    given = parse({"auth-fd": Variant("h", 0)}, descriptors=(reading,))
    assert given.auth_fd == reading
    wait_until_closed()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)


@pytest.mark.parametrize("index", [1, 99])
def test_a_descriptor_that_did_not_come_is_an_error(index: int) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(InvalidArgument, match="is missing from the call"):
        parse({"auth-fd": Variant("h", index)}, descriptors=(reading,))
    # The one that came and was not named is closed with the call.
    wait_until_closed()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)


@pytest.mark.parametrize("size", [0, 1, 63 * MIB, 64 * MIB + 1, 100 * MIB + 512, 64 * TIB, 2**63])
def test_a_size_that_makes_no_file_system_is_refused(size: int) -> None:
    with pytest.raises(InvalidArgument, match="virtual size"):
        PullRequest(source=parse_reference("docker://debian"), pool=POOL, size=size)
    with pytest.raises(
        InvalidArgument, match=r'Invalid option "volume-size": .* from 64 MiB to 63 TiB'
    ):
        parse({"volume-size": Variant("t", size)})


def test_the_smallest_and_largest_size_and_steps_are_accepted() -> None:
    for size in (64 * MIB, 65 * MIB, 63 * TIB):
        PullRequest(source=parse_reference("docker://debian"), pool=POOL, size=size)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="name"):
        pull_request(parse_reference("docker://debian"), POOL, PullOptions(name=" "))


def test_a_name_after_the_source_must_be_valid_as_well() -> None:
    source = parse_reference(f"oci:/{'x' * 250}:{'y' * 10}")
    with pytest.raises(InvalidArgument, match='Invalid image name "xxx'):
        pull_request(source, POOL, PullOptions())
    assert pull_request(source, POOL, PullOptions(name="x")).name == "x"


@pytest.mark.parametrize("image_format", ["dir", "disk"])
@pytest.mark.parametrize("sizes", [{"size": 0}, {"volume_size": 0}])
def test_a_size_of_zero_is_a_size(image_format: str, sizes: dict[str, Any]) -> None:
    source = parse_reference("docker://debian")
    with pytest.raises(InvalidArgument):
        pull_request(source, POOL, PullOptions(format=image_format, **sizes))


LOCAL, REMOTE = parse_reference("oci:/srv/layout:1"), parse_reference("docker://x.test/y")


@pytest.mark.parametrize(
    ("source", "options", "instead"),
    [
        (LOCAL, {}, "source-fd"),
        (REMOTE, {"authfile": Variant("s", "/auth.json")}, "auth-fd"),
        (REMOTE, {"cert-dir": Variant("s", "/certs")}, "cert-fds"),
    ],
)
def test_paths_are_for_a_session_alone(
    source: Reference, options: dict[str, Variant], instead: str
) -> None:
    given = parse(options)
    given.check_paths(source, session=True)
    with pytest.raises(InvalidArgument, match=f'pass the option "{instead}".*virtlayer'):
        given.check_paths(source, session=False)


def test_descriptor_of_an_image_in_a_registry_is_refused() -> None:
    reading, writing = os.pipe()
    given = parse({"source-fd": Variant("h", 0)}, descriptors=(reading,))
    given.check_paths(LOCAL, session=False)
    with pytest.raises(InvalidArgument, match="in a registry"):
        given.check_paths(REMOTE, session=True)
    os.close(writing)
    wait_until_closed()


def test_certificates_are_named_descriptors() -> None:
    ends = os.pipe()
    given = parse(
        {"cert-fds": Variant("a{sh}", {"ca.crt": 0, "me.key": 1})},
        descriptors=ends,
    )
    assert given.access.cert_fds == {"ca.crt": ends[0], "me.key": ends[1]}
    assert given.access.has_certificates
    wait_until_closed()


@pytest.mark.parametrize("name", ["../ca.crt", "ca.pem", "ca\n.crt", "", "x" * 252 + ".crt"])
def test_names_that_are_no_certificates(name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid file name"):
        Access(cert_fds={name: 0})


def test_certificates_are_limited_in_number() -> None:
    with pytest.raises(InvalidArgument, match="13 certificates; the limit is 12"):
        Access(cert_fds={f"{number}.crt": number for number in range(13)})


def test_only_the_source_is_kept_open_after_the_call() -> None:
    reading, writing = os.pipe()
    source = os.dup(reading)
    message = Message(path="/", member="Pull", unix_fds=[reading, source])
    call = Call(message)
    with contextlib.ExitStack() as belongings:
        options = {"auth-fd": Variant("h", 0), "source-fd": Variant("h", 1)}
        parse_options(PullOptions, options, call, belongings)
        call.close()
        wait_until_closed()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(reading)
        os.fstat(source)
    os.close(writing)
    wait_until_closed()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(source)


def test_details_contain_only_the_presence_of_descriptors() -> None:
    given = PullOptions(source_fd=11, auth_fd=12, cert_fds={"ca.crt": 13, "client.key": 14})
    details = details_of(given, source="oci-archive:/x")
    assert details["source-fd"] == "given"
    assert details["cert-fds"] == "ca.crt, client.key"
    assert details["source"] == "oci-archive:/x"
    assert details.keys().isdisjoint({"auth-fd", "password", "root-password", "root-password-fd"})
