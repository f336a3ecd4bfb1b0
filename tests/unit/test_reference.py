# SPDX-License-Identifier: LGPL-2.1-or-later
"""References: every form that people write, and many that they should not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtlayer.errors import InvalidReference
from virtlayer.service.source.reference import parse_reference

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # the defaults of Docker Hub
        ("debian", "docker://docker.io/library/debian:latest"),
        ("debian:12", "docker://docker.io/library/debian:12"),
        ("docker://debian:12", "docker://docker.io/library/debian:12"),
        ("docker.io/debian", "docker://docker.io/library/debian:latest"),
        ("docker.io/library/debian:12", "docker://docker.io/library/debian:12"),
        ("index.docker.io/debian", "docker://docker.io/library/debian:latest"),
        ("index.docker.io/team/image", "docker://docker.io/team/image:latest"),
        ("team/image", "docker://docker.io/team/image:latest"),
        ("library/debian", "docker://docker.io/library/debian:latest"),
        # an image may be called like a transport
        ("docker", "docker://docker.io/library/docker:latest"),
        ("docker:dind", "docker://docker.io/library/docker:dind"),
        # the odd forms
        ("docker:///debian", "docker://docker.io/library/debian:latest"),
        ("docker://debian/", "docker://docker.io/library/debian:latest"),
        ("docker:///debian/", "docker://docker.io/library/debian:latest"),
        ("docker:///host:5000/team/image/", "docker://host:5000/team/image:latest"),
        ("debian/", "docker://docker.io/library/debian:latest"),
        ("docker:////debian:12", "docker://docker.io/library/debian:12"),
        # what makes the first part a registry
        ("localhost/image", "docker://localhost/image:latest"),
        ("localhost:5000/image:1", "docker://localhost:5000/image:1"),
        ("localhost:5000", "docker://docker.io/library/localhost:5000"),
        ("host:5000/image", "docker://host:5000/image:latest"),
        ("host/image", "docker://docker.io/host/image:latest"),
        ("Host/image", "docker://Host/image:latest"),
        ("quay.io/team/image", "docker://quay.io/team/image:latest"),
        ("a.b/c", "docker://a.b/c:latest"),
        ("a.b", "docker://docker.io/library/a.b:latest"),
        ("127.0.0.1:5000/a/b/c:v1.0_x-y", "docker://127.0.0.1:5000/a/b/c:v1.0_x-y"),
        ("[::1]:5000/image", "docker://[::1]:5000/image:latest"),
        ("[2001:db8::1]/image:1", "docker://[2001:db8::1]/image:1"),
        # separators inside a component
        ("a__b/c-d/e---f/g.h:1", "docker://docker.io/a__b/c-d/e---f/g.h:1"),
        # tags and digests
        ("image:Tag", "docker://docker.io/library/image:Tag"),
        ("image:_x", "docker://docker.io/library/image:_x"),
        ("image:" + "t" * 128, "docker://docker.io/library/image:" + "t" * 128),
        (f"image@{SHA256}", f"docker://docker.io/library/image@{SHA256}"),
        (f"image@{SHA512}", f"docker://docker.io/library/image@{SHA512}"),
        (f"image:1@{SHA256}", f"docker://docker.io/library/image:1@{SHA256}"),
        (f"host:5000/image@{SHA256}", f"docker://host:5000/image@{SHA256}"),
        (f"docker://host:5000/i:1@{SHA256}", f"docker://host:5000/i:1@{SHA256}"),
        # hexadecimal names are only wrong with 64 digits
        ("a" * 63, "docker://docker.io/library/" + "a" * 63 + ":latest"),
        # files of this host
        ("oci:/a/b", "oci:/a/b"),
        ("oci:/a/b:1", "oci:/a/b:1"),
        ("oci:/a/b:team/image+x@y", "oci:/a/b:team/image+x@y"),
        ("oci:/a/b:@1", "oci:/a/b:@1"),
        ("oci:/a/b/:1", "oci:/a/b:1"),
        ("oci:/a//b/../c", "oci:/a/c"),
        ("oci://a/b", "oci:/a/b"),
        ("oci:///a/b:1", "oci:/a/b:1"),
        ("oci-archive:/a.tar:1", "oci-archive:/a.tar:1"),
        ("docker-archive:/a.tar", "docker-archive:/a.tar"),
        ("docker-archive:/a.tar:demo:1", "docker-archive:/a.tar:demo:1"),
        ("docker-archive:/a.tar:host:5000/d:1", "docker-archive:/a.tar:host:5000/d:1"),
        ("docker-archive:/a.tar:@0", "docker-archive:/a.tar:@0"),
        ("dir:/a/b:c", "dir:/a/b:c"),
        ("dir:/with space/ü", "dir:/with space/ü"),
    ],
)
def test_forms(text: str, canonical: str) -> None:
    reference = parse_reference(text)
    assert str(reference) == canonical
    assert parse_reference(canonical) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "/",
        "docker://",
        "docker:///",
        "docker:",
        ":tag",
        "image:",
        "image@",
        "Image",
        "docker.io/Team/image",
        "image name",
        " image",
        "image\n",
        "im\x00age",
        "image:ta g",
        "image:.tag",
        "image:-tag",
        "image:" + "t" * 129,
        "image:1:2",
        "a//b",
        "a/-b",
        "a/b-",
        "a..b/c_/d",
        "a___b",
        "-host.x/image",
        "host-.x/image",
        "host.x:port/image",
        "host.x:/image",
        "ho_st.x/image",
        "é/image",
        "x" * 300,
        "a" * 64,
        f"image@{SHA256[:-1]}",
        f"image@{SHA256}0",
        f"image@{SHA256.upper()}",
        f"image@{SHA256}:1",
        "image@md5:" + "0" * 32,
        "image@sha384:" + "0" * 96,
        "image@0123",
        "x" * 5000,
        "../image",
        "/var/image.tar",
        "./image",
        "https://quay.io/team/image",
        "http://host:5000/image",
        "containers-storage:debian",
        "containers-storage:[overlay@/x]debian",
        "docker-daemon:debian:12",
        "ostree:image",
        "sif:/a.sif",
        "tarball:/a.tar",
        "unknown://x",
        "oci:",
        "oci:relative:1",
        "oci:/a:",
        "oci:/a:b c",
        "oci:/a:-b",
        "oci:/a:@",
        "oci:/a:@-1",
        "oci:/a:@1x",
        "oci-archive:/a.tar:@1",
        "oci-archive:a.tar",
        "docker-archive:a.tar",
        "docker-archive:/a.tar:Demo",
        f"docker-archive:/a.tar:demo@{SHA256}",
        "docker-archive:/a.tar:@x",
        "dir:a",
        "dir:",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_reference(text)


@pytest.mark.parametrize("text", ["ftp://x/y", "sif:x"])
def test_other_transports_name_those_that_work(text: str) -> None:
    with pytest.raises(InvalidReference, match=r"docker://, oci:, oci-archive:, docker-archive:"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        (
            "containers-storage:localhost/team/app:1",
            (
                "podman save --format oci-archive -o app.tar localhost/team/app:1; "
                "virtlayer pull --name app:1 oci-archive:app.tar"
            ),
        ),
        (
            "containers-storage:[overlay@/x]debian",
            (
                "podman save --format oci-archive -o debian.tar debian; "
                "virtlayer pull --name debian oci-archive:debian.tar"
            ),
        ),
        (
            "docker-daemon:my app:1",
            (
                "docker save -o 'my app.tar' 'my app:1'; "
                "virtlayer pull --name 'my app:1' 'docker-archive:my app.tar'"
            ),
        ),
    ],
)
def test_image_in_a_local_store_gets_the_commands_that_export_it(text: str, commands: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text)
    assert caught.value.message.endswith(f" Export the image: {commands}")


@pytest.mark.parametrize(
    "text", ["docker://user:hunter2@host.x/image", "user:hunter2@host.x/image", "x://u:hunter2@h/i"]
)
def test_a_password_is_not_repeated(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text)
    assert "hunter2" not in str(caught.value)


def test_a_digest_decides_and_the_tag_stays_a_name() -> None:
    reference = parse_reference(f"host:5000/team/demo:1@{SHA256}")
    assert reference.tag == "1"
    assert reference.digest == SHA256
    assert reference.skopeo_name == f"docker://host:5000/team/demo@{SHA256}"
    assert reference.short_name == "demo:1"


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("debian:12", "debian:12"),
        ("debian", "debian:latest"),
        ("host:5000/team/demo:1", "demo:1"),
        (f"demo@{SHA256}", f"demo@{SHA256[:19]}"),
        ("oci:/a/b:1", "b:1"),
        ("oci:/a/b:team/x", "b:x"),
        ("oci:/a/b", "b"),
        ("oci:/a/b:@1", "b:1"),
        ("oci-archive:/a/b.tar:1", "b:1"),
        ("docker-archive:/a/b.tar", "b"),
        ("docker-archive:/a/b.tar:team/demo:1", "demo:1"),
        ("docker-archive:/a/b.tar:@2", "b:2"),
        ("dir:/a/b", "b"),
    ],
)
def test_short_names(text: str, short: str) -> None:
    assert parse_reference(text).short_name == short


def test_reference_has_domain_or_local_path() -> None:
    registry, local = parse_reference("host:5000/a"), parse_reference("oci:/a/b:1")
    assert (registry.domain, registry.local_path) == ("host:5000", None)
    assert (local.domain, local.local_path) == (None, Path("/a/b"))


def test_pinning() -> None:
    assert str(parse_reference("debian:12").pinned(SHA256)).endswith(f"debian:12@{SHA256}")
    local = parse_reference("oci:/a/b:1")
    assert local.pinned(SHA256) == local


@given(st.text(max_size=300))
def test_junk_is_refused_or_has_a_canonical_form(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return
    assert parse_reference(str(reference)) == reference


@given(
    st.from_regex(
        r"(docker://|oci:/|dir:/|docker-archive:/)?[a-z.:\[\]/@_-]{0,30}(:[\w.-]{1,5})?"
        r"(@sha256:[0-9a-f]{64})?",
        fullmatch=True,
    )
)
def test_near_misses_are_refused_or_have_a_canonical_form(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return
    assert parse_reference(str(reference)) == reference
