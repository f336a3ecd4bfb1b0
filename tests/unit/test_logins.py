# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logins: what a file has, and which of them a registry gets."""

import base64
import json

import pytest

from virtlayer.errors import InvalidArgument
from virtlayer.service.source.logins import authfile, login_of, logins_for, parse_logins

PAIR = {"auth": "bWU6aHVudGVyMg=="}


def test_only_logins_are_taken_from_a_file() -> None:
    content = {
        "auths": {
            "host:5000": PAIR | {"email": "me@x"},
            "helped": {},
            "token": {"identitytoken": "t"},
        },
        "credHelpers": {"host:5000": "a-program"},
        "credsStore": "a-program",
    }
    logins = parse_logins(json.dumps(content).encode(), "authfile")
    assert logins == {"host:5000": PAIR, "helped": {}, "token": {"identitytoken": "t"}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"hunter2",
        b'{"auths": 1}',
        b'{"auths": ["hunter2"]}',
        b'{"auths": {"a": 1}}',
        b'{"auths": {"a": [1]}}',
        b"[" * 60_000,
        b'\xff{"auths": {}}',
    ],
)
def test_file_of_another_format_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidArgument, match="auth-fd is not a containers-auth") as caught:
        parse_logins(content, "auth-fd")
    assert "hunter2" not in str(caught.value)


def test_number_of_logins_is_limited() -> None:
    logins = {str(number): PAIR for number in range(1000)}
    assert len(parse_logins(json.dumps({"auths": logins}).encode(), "auth-fd")) == 1000
    logins["one more"] = PAIR
    with pytest.raises(InvalidArgument, match="auth-fd has 1001 logins; the limit is 1000"):
        parse_logins(json.dumps({"auths": logins}).encode(), "auth-fd")


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("host:5000", "host:5000"),
        ("host:5000/team/image", "host:5000"),
        ("docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("http://host", "host"),
    ],
)
def test_login_is_sent_only_to_its_registry(key: str, registry: str) -> None:
    logins = {key: PAIR, "other.example": PAIR, f"{registry}.evil": PAIR}
    assert logins_for(logins, {registry}) == {key: PAIR}
    assert logins_for(logins, {"elsewhere"}) == {}


def test_login_without_a_secret_is_dropped() -> None:
    assert logins_for({"host": {}}, {"host"}) == {}


def test_username_and_password() -> None:
    logins = login_of("host:5000", "me", "a:b")
    assert json.loads(authfile(logins)) == {
        "auths": {"host:5000": {"auth": base64.b64encode(b"me:a:b").decode()}}
    }
