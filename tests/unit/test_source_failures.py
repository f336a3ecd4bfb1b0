# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages of skopeo, as they were seen, and the errors that they mean."""

import pytest

from virtlayer.errors import (
    DigestMismatch,
    ImageNotFound,
    MalformedLayer,
    NoSpace,
    PlatformNotFound,
    PolicyRejected,
    RegistryAuth,
    RegistryUnavailable,
    VirtlayerError,
)
from virtlayer.service.source.failures import failure
from virtlayer.service.source.reference import parse_reference

REGISTRY, LOCAL = parse_reference("host:5000/demo:1"), parse_reference("oci:/layout:1")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("reading manifest 2 in host:5000/a: manifest unknown", ImageNotFound),
        ("reading manifest 2 in host:5000/a: name unknown", ImageNotFound),
        ("fetching blob: blob unknown to registry", ImageNotFound),
        ('no descriptor found for reference "nope"', ImageNotFound),
        ("more than one image in oci, choose an image", ImageNotFound),
        ('Tag "docker.io/library/demo:2" not found', ImageNotFound),
        ("open /x/index.json: permission denied", ImageNotFound),
        (
            'no image found in image index for architecture "amd64", variant "", OS "linux"',
            PlatformNotFound,
        ),
        ("reading manifest 1 in host:5000/a: authentication required", RegistryAuth),
        (
            "reading manifest latest in x: requested access to the resource is denied",
            RegistryAuth,
        ),
        ("unable to retrieve auth token: invalid username/password: unauthorized", RegistryAuth),
        (
            'pinging container registry h: Get "https://h/v2/": dial tcp: lookup h: no such host',
            RegistryUnavailable,
        ),
        ("reading manifest 1 in h/a: toomanyrequests: You have reached …", RegistryUnavailable),
        ("received unexpected HTTP status: 503 Service Unavailable", RegistryUnavailable),
        ("net/http: TLS handshake timeout; i/o timeout", RegistryUnavailable),
        ("Running image docker://h/a:1 is rejected by policy.", PolicyRejected),
        ("A signature was required, but no signature exists", PolicyRejected),
        ("corrupted blob, expecting sha256:00", DigestMismatch),
        ("write /tmp/x: no space left on device", NoSpace),
        ("archive/tar: invalid tar header", MalformedLayer),
        ("something that nobody has seen before", RegistryUnavailable),
        ("", RegistryUnavailable),
    ],
)
def test_meaning(text: str, error: type[VirtlayerError]) -> None:
    found = failure(REGISTRY, text)
    assert type(found) is error
    assert str(found).startswith("docker://host:5000/demo:1")


def test_an_unknown_problem_with_a_file() -> None:
    assert type(failure(LOCAL, "something new")) is ImageNotFound


def test_only_the_fatal_line_of_a_log_is_told() -> None:
    log = (
        'time="2026-11-24T06:57:33Z" level=info msg="Reading blob body failed"\n'
        'time="2026-11-24T06:57:34Z" level=fatal msg="Error parsing \\"x\\": manifest unknown"\n'
    )
    message = str(failure(REGISTRY, log))
    assert message == (
        'docker://host:5000/demo:1: Error parsing "x": manifest unknown. Check its name and tag.'
    )


def test_what_a_registry_says_is_made_harmless() -> None:
    message = str(failure(REGISTRY, "\x1b[31mred\nnext line\x07" + "x" * 10_000))
    assert message.isprintable()
    assert len(message) < 1000
