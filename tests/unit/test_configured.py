# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of images.d: valid content, and errors about invalid content."""

from pathlib import Path

import pytest

from virtlayer.errors import InvalidArgument
from virtlayer.service.operations.configured import ConfiguredImage, configured_images
from virtlayer.service.operations.pull_chain import PullRequest


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    directory = tmp_path / "virtlayer" / "images.d"
    directory.mkdir(parents=True)
    return directory


def only(images: Path, text: str) -> ConfiguredImage:
    (images / "one.toml").write_text(text)
    [found] = configured_images(session=True)
    assert found.file == images / "one.toml"
    return found


def test_a_source_is_enough(images: Path) -> None:
    found = only(images, 'source = "docker://docker.io/library/debian:13"\n')
    assert (found.pool, found.name, found.interval) == ("default", "debian:13", 24 * 60 * 60)
    assert found.source == "docker://docker.io/library/debian:13"
    assert isinstance(found.request, PullRequest)
    assert (found.request.keep, found.request.access.tls_verify) == (1, True)


def test_everything_that_can_be_said(images: Path) -> None:
    found = only(
        images,
        """
        source = "docker://registry.example/demo"
        pool = "fast"
        name = "demo"
        refresh = "90min"
        keep = 3
        platform = "linux/arm64/v8"
        authfile = "/etc/virtlayer/auth.json"
        tls-verify = false
        cert-dir = "/etc/virtlayer/certs"
        cache = false
        size = 67108864
        """,
    )
    request = found.request
    assert isinstance(request, PullRequest)
    assert (found.interval, request.pool, request.name, request.keep) == (5400, "fast", "demo", 3)
    assert str(request.platform) == "linux/arm64/v8"
    assert request.access.authfile == Path("/etc/virtlayer/auth.json")
    assert (request.access.tls_verify, request.cache, request.size) == (False, False, 67108864)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", 'one.toml: the key "source" is missing.'),
        ("source", "one.toml is not valid TOML"),
        ('source = "docker://UPPER"', "one.toml, line 1: "),
        ('source = ""', 'line 1: "source" must be a string'),
        ('source = "docker://a/b"\n\nrefresh = "often"', 'line 3: Invalid interval "often"'),
        ('source = "docker://a/b"\nrefresh = 12', 'line 2: "refresh" must be a string'),
        ('source = "docker://a/b"\nkeep = -1', 'line 2: "keep" must be a whole number'),
        ('source = "docker://a/b"\nplatform = "x"', "line 2: "),
        ('source = "docker://a/b"\nsize = 1', 'line 2: Invalid option "size": 1 bytes'),
        ('source = "docker://a/b"\nsize = 0', "from 64 MiB to 63 TiB"),
        ('source = "docker://a/b"\nsize = 70368744177664', 'line 2: Invalid option "size": 64 TiB'),
        ('source = "docker://a/b"\nsize = 9223372036854775808', 'option "size": 8388608 TiB'),
        ('source = "docker://a/b"\nname = "a\\nb"', 'line 2: Invalid image name "a\\x0ab"'),
        ('source = "docker://a/b"\nname = " "', "line 2: Invalid image name"),
        ('source = "docker://a/b"\npool = "a/b"', 'line 2: Invalid pool name "a/b"'),
        ('source = "docker://a/b"\npool = "\\u2028"', 'line 2: Invalid pool name "\\u2028"'),
        ('source = "docker://a/b"\ntls_verify = true', 'line 2: unknown key "tls_verify"'),
        ('source = "docker://a/b"\ntls-verify = "no"', 'line 2: "tls-verify" must be true or'),
        ('source = "docker://a/b"\nauthfile = "auth"', 'line 2: "authfile" must be an absolute'),
        ('source = "docker://a/b"\nauthfile = "/a\\u0000"', 'line 2: "authfile" must be an abs'),
        ('source = "docker://a/b"\npassword = "secret"', 'line 2: unknown key "password"'),
    ],
)
def test_errors_name_their_line(images: Path, text: str, complaint: str) -> None:
    found = only(images, text)
    assert isinstance(found.request, InvalidArgument)
    assert complaint in found.request.message
    assert "secret" not in found.request.message


def test_one_name_is_one_image(images: Path) -> None:
    for name in ("a", "b"):
        (images / f"{name}.toml").write_text(f'source = "docker://r/{name}"\nname = "same"\n')
    (images / "c.toml").write_text('source = "docker://r/c"\nname = "same"\npool = "other"\n')
    (images / "d.toml.disabled").write_text("nonsense")
    first, second, third = configured_images(session=True)
    assert isinstance(first.request, PullRequest)
    assert isinstance(second.request, InvalidArgument)
    assert str(images / "a.toml") in second.request.message
    assert isinstance(third.request, PullRequest)


def test_without_the_directory_nothing_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    assert configured_images(session=True) == ()
