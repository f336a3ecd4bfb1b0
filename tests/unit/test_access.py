# SPDX-License-Identifier: LGPL-2.1-or-later
"""Credentials and certificates on their way to skopeo."""

import base64
import json
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.leftovers import nothing_left
from virtlayer.errors import InvalidArgument
from virtlayer.service.source.access import Access, skopeo_flags
from virtlayer.service.source.passed_descriptor import secrets_deadline
from virtlayer.service.source.reference import parse_reference

HOST = parse_reference("host:5000/team/image")
PASSWORD = "hunter2:with colon"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Access(username="me"),
        lambda: Access(password="x"),
        lambda: Access(username="", password="x"),
        lambda: Access(username="a:b", password="x"),
        lambda: Access(username="me", password="x", authfile=Path("/x")),
        lambda: Access(authfile=Path("/x"), auth_fd=3),
        lambda: Access(authfile=Path("x")),
        lambda: Access(cert_dir=Path("x")),
    ],
)
def test_conflicting_options_are_refused(make: Callable[[], Access]) -> None:
    with pytest.raises(InvalidArgument):
        make()


def test_repr_has_no_password() -> None:
    assert "hunter2" not in repr(Access(username="me", password=PASSWORD))


async def test_credentials_are_in_a_private_file_while_needed(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    logins = Access(username="me", password=PASSWORD).logins_at("host:5000")
    with nothing_left():
        async with skopeo_flags(Access(), logins, HOST, runtime) as flags:
            (flag,) = flags
            authfile = Path(flag.removeprefix("--authfile="))
            assert stat.S_IMODE(authfile.stat().st_mode) == 0o600
            assert stat.S_IMODE(authfile.parent.stat().st_mode) == 0o700
            assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
            auth = json.loads(authfile.read_bytes())["auths"]["host:5000"]["auth"]
            assert base64.b64decode(auth).decode() == f"me:{PASSWORD}"
            assert "hunter2" not in "".join(flags)
    assert list(runtime.iterdir()) == []


async def test_flags(tmp_path: Path) -> None:
    access = Access(tls_verify=False, cert_dir=tmp_path)
    async with skopeo_flags(access, {}, HOST, tmp_path / "run") as (authfile, *flags):
        assert flags == ["--tls-verify=false", f"--cert-dir={tmp_path}"]
        # Without a file of ours, skopeo would read that of its user.
        assert Path(authfile.removeprefix("--authfile=")).read_text() == '{"auths": {}}'
    async with skopeo_flags(access, {}, parse_reference("oci:/x"), tmp_path / "run") as flags:
        assert [flag.partition("=")[0] for flag in flags] == ["--authfile"]


async def test_missing_paths_are_reported(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="/no does not exist"):
        await Access(authfile=Path("/no")).settled(secrets_deadline())
    for path, problem in (("/no", "/no is not a directory"), ("/" + "x" * 300, "cannot read")):
        with pytest.raises(InvalidArgument, match=problem):
            async with skopeo_flags(Access(cert_dir=Path(path)), {}, HOST, tmp_path):
                pass


def _memfd(content: bytes) -> int:
    descriptor = os.memfd_create("auth")
    os.write(descriptor, content)
    return descriptor


def _pipe(content: bytes) -> int:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return reading


def _file(content: bytes) -> int:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return os.dup(file.fileno())


@pytest.mark.parametrize("make", [_memfd, _pipe, _file])
async def test_a_descriptor_gives_an_authfile(make: Callable[[bytes], int]) -> None:
    auths = {"host:5000": {"auth": "bWU6aHVudGVyMg=="}}
    content = json.dumps({"auths": auths, "credHelpers": {"host:5000": "a-program"}}).encode()
    with nothing_left():
        descriptor = make(content)
        access = await Access(auth_fd=descriptor).settled(secrets_deadline())
        os.close(descriptor)
    assert access == Access(logins=auths)
    assert "bWU6" not in repr(access)


@pytest.mark.parametrize("content", [b"hunter2", b" " * 2_000_000])
async def test_a_descriptor_that_gives_something_else(content: bytes) -> None:
    descriptor = _memfd(content)
    with pytest.raises(InvalidArgument) as caught:
        await Access(auth_fd=descriptor).settled(secrets_deadline())
    os.close(descriptor)
    assert "hunter2" not in str(caught.value)


async def test_a_descriptor_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virtlayer.service.source.passed_descriptor._SECONDS", 0.05)
    with nothing_left():
        reading, writing = os.pipe()
        with pytest.raises(InvalidArgument, match="Close its other end"):
            await Access(auth_fd=reading).settled(secrets_deadline())
        os.close(reading)
        os.close(writing)


async def test_invalid_descriptor_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="cannot be read"):
        await Access(auth_fd=10_000).settled(secrets_deadline())
