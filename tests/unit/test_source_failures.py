# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages of skopeo, as they were seen, and the errors that they mean."""

import pytest

from virtlayer.errors import (
    DigestMismatch,
    ImageNotFound,
    MalformedLayer,
    NoSpace,
    NotAuthorized,
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


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (
            'Error parsing image name "oci:/l:1": open /l/index.json: permission denied',
            NotAuthorized,
            "cannot read /l/index.json: permission denied",
        ),
        ("faccessat /a b/l: permission denied", NotAuthorized, "cannot read /a b/l: permission"),
        (
            "open /no/index.json: no such file or directory",
            ImageNotFound,
            "/no/index.json does not",
        ),
        ('creating temp directory: archive file not found: "/a.tar"', ImageNotFound, "/a.tar does"),
        (
            'opening file "/a.tar": open /a.tar: no such file or directory',
            ImageNotFound,
            "layout:1: /a.tar does not exist",
        ),
        (
            "open /l/blobs/sha256/00: no such file or directory",
            ImageNotFound,
            "the image is incomplete: /l/blobs/sha256/00 does not exist",
        ),
    ],
)
def test_file_of_local_source_is_named(text: str, error: type[VirtlayerError], said: str) -> None:
    found = failure(LOCAL, text)
    assert (type(found), said in found.message) == (error, True), found.message


def test_refused_login_names_registry_and_user() -> None:
    text = "reading manifest 1 in host:5000/demo: authentication required"
    assert failure(REGISTRY, text, "me").message.endswith(
        'The login of user "me" at host:5000 was refused. Check user name and password.'
    )
    assert failure(REGISTRY, text).message.endswith(
        "host:5000 requires a login, or the image does not exist. "
        'Use "virtlayer login host:5000", or the option "username".'
    )


def test_unknown_problem_with_local_source_is_image_not_found() -> None:
    assert type(failure(LOCAL, "something new")) is ImageNotFound


def test_message_is_the_fatal_line_of_a_log() -> None:
    log = (
        'time="2026-11-24T06:57:33Z" level=info msg="Reading blob body failed"\n'
        'time="2026-11-24T06:57:34Z" level=fatal msg="Error parsing \\"x\\": manifest unknown"\n'
    )
    message = str(failure(REGISTRY, log))
    assert message == (
        'docker://host:5000/demo:1: Error parsing "x": manifest unknown. Check the name and tag.'
    )


def test_text_of_a_registry_is_escaped_and_bounded() -> None:
    message = str(failure(REGISTRY, "\x1b[31mred\nnext line\x07" + "x" * 10_000))
    assert message.isprintable()
    assert len(message) < 1000
