# SPDX-License-Identifier: LGPL-2.1-or-later
"""Registries with TLS, with a password, and with both; and what others can see of it."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.leftovers import nothing_left
from tests.support.registry import Registry
from tests.support.sources import PLAIN, Sources, read_some, words_of_children
from virtlayer.errors import RegistryAuth, RegistryUnavailable
from virtlayer.service.source.access import Access
from virtlayer.service.source.obtained import Obtained

USER, PASSWORD = "me", "hunter2-Σ"
LAYERS = [images.layer(images.file("data", os.urandom(3_000_000))) for _ in range(3)]
CONTENT = images.image(LAYERS)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with TLS and a password."""
    directory = tmp_path_factory.mktemp("secured")
    with Registry(directory, tls=True, htpasswd=(USER, PASSWORD)) as registry:
        registry.store(CONTENT, "team/demo:1")
        yield registry


@pytest.fixture
def reference(secured: Registry) -> str:
    return secured.reference("team/demo:1")


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    sources = Sources(tmp_path)
    with nothing_left():
        yield sources
    assert sources.left() == []


def authfile_content(registry: Registry) -> bytes:
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return json.dumps({"auths": {registry.host: {"auth": pair}}}).encode()


async def test_username_and_password(secured: Registry, reference: str, sources: Sources) -> None:
    access = Access(username=USER, password=PASSWORD, cert_dir=secured.cert_dir)
    assert await sources.blobs(reference, access) == [layer.blob for layer in LAYERS]


async def test_an_authfile(
    secured: Registry, reference: str, sources: Sources, tmp_path: Path
) -> None:
    authfile = tmp_path / "auth.json"
    authfile.write_bytes(authfile_content(secured))
    access = Access(authfile=authfile, cert_dir=secured.cert_dir)
    assert (await sources.image(reference, access)).digest == CONTENT.digest


async def test_an_authfile_through_a_descriptor(
    secured: Registry, reference: str, sources: Sources
) -> None:
    reading, writing = os.pipe()
    os.write(writing, authfile_content(secured))
    os.close(writing)
    access = Access(auth_fd=reading, cert_dir=secured.cert_dir)
    assert (await sources.image(reference, access)).digest == CONTENT.digest
    os.close(reading)


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HOME"])
async def test_logins_of_the_user_that_skopeo_runs_as_are_not_sent(
    secured: Registry,
    reference: str,
    sources: Sources,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    for path in ("containers/auth.json", ".docker/config.json"):
        authfile = tmp_path / "own" / path
        authfile.parent.mkdir(parents=True)
        authfile.write_bytes(authfile_content(secured))
    monkeypatch.setenv(variable, str(tmp_path / "own"))
    with pytest.raises(RegistryAuth):
        await sources.image(reference, Access(cert_dir=secured.cert_dir))


async def test_logins_that_are_sent_are_known(
    secured: Registry, reference: str, sources: Sources
) -> None:
    access = Access(username=USER, password=PASSWORD, cert_dir=secured.cert_dir)
    async with sources.open(reference, access) as opened:
        assert opened.obtained == Obtained(
            registry=secured.host,
            repository=f"{secured.host}/team/demo",
            with_credentials=True,
            verified=False,
        )


async def test_without_verification(reference: str, sources: Sources) -> None:
    access = Access(username=USER, password=PASSWORD, tls_verify=False)
    assert (await sources.image(reference, access)).digest == CONTENT.digest


async def test_an_unknown_ca(reference: str, sources: Sources) -> None:
    access = Access(username=USER, password=PASSWORD)
    with pytest.raises(RegistryUnavailable, match=r"x509.*cert-dir"):
        await sources.image(reference, access)


async def test_a_registry_without_tls(tmp_path: Path, sources: Sources) -> None:
    with Registry(tmp_path / "registry") as registry:
        reference = registry.store(CONTENT, "demo:1")
        with pytest.raises(RegistryUnavailable, match="tls-verify=false"):
            await sources.image(reference, Access())
        assert (await sources.image(reference, PLAIN)).digest == CONTENT.digest


async def test_a_password_without_tls(tmp_path: Path, sources: Sources) -> None:
    with Registry(tmp_path / "registry", htpasswd=(USER, PASSWORD)) as registry:
        reference = registry.store(CONTENT, "demo:1")
        access = Access(username=USER, password=PASSWORD, tls_verify=False)
        assert await sources.blobs(reference, access) == [layer.blob for layer in LAYERS]


@pytest.mark.parametrize(
    ("credentials", "advice"),
    [
        ({}, 'requires a login, or the image does not exist. Use "virtlayer login {registry}"'),
        (
            {"username": USER, "password": "hunter3"},
            'The login of user "{user}" at {registry} was refused. Check user name and password.',
        ),
    ],
    ids=["missing", "wrong"],
)
async def test_missing_or_wrong_credentials(
    secured: Registry, reference: str, sources: Sources, credentials: dict[str, str], advice: str
) -> None:
    access = Access(
        username=credentials.get("username"),
        password=credentials.get("password"),
        cert_dir=secured.cert_dir,
    )
    with pytest.raises(RegistryAuth) as caught:
        await sources.image(reference, access)
    registry = reference.removeprefix("docker://").partition("/")[0]
    assert advice.format(registry=registry, user=USER) in str(caught.value)
    assert "hunter3" not in str(caught.value)


async def test_schema_1_with_tls_and_a_password(tmp_path: Path, sources: Sources) -> None:
    directory = tmp_path / "registry"
    with Registry(directory, tls=True, htpasswd=(USER, PASSWORD), schema1=True) as registry:
        layout = images.write_layout(tmp_path / "layout", {"1": CONTENT})
        reference = registry.push(f"oci:{layout}:1", "old:1", "--format=v2s1")
        access = Access(username=USER, password=PASSWORD, cert_dir=registry.cert_dir)
        blobs = await sources.blobs(reference, access)
    assert [images.digest_of(blob) for blob in blobs] == [layer.digest for layer in LAYERS]


async def test_no_secret_can_be_seen(
    secured: Registry, reference: str, sources: Sources, tmp_path: Path
) -> None:
    access = Access(username=USER, password=PASSWORD, cert_dir=secured.cert_dir)
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    seen = ""
    async with sources.open(reference, access) as opened:
        for layer in opened.image.layers:
            async with opened.blob(layer) as stream:
                while await read_some(stream):
                    seen += words_of_children()
        secrets = [path for path in tmp_path.rglob("auth.json") if encoded in path.read_text()]
        assert [path.stat().st_mode & 0o777 for path in secrets] == [0o600]
    assert "experimental-image-proxy" in seen
    assert PASSWORD not in seen
    assert encoded not in seen
    assert list(tmp_path.rglob("auth.json")) == []
