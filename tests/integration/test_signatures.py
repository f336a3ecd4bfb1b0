# SPDX-License-Identifier: LGPL-2.1-or-later
"""Signatures with real keys, and that skopeo decides by the scope that is shown."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.bus_daemon import session_bus
from tests.support.leftovers import nothing_left
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import pool_user, some_image
from tests.support.registry import Registry
from tests.support.sources import Sources
from tests.support.virtlayerd import virtlayerd
from virtlayer.errors import PolicyRejected
from virtlayer.service.source.policy import SignaturePolicy, policy_scope
from virtlayer.service.source.reference import parse_reference

ACCEPT, REJECT = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    sources = Sources(tmp_path / "service")
    with nothing_left():
        yield sources
    assert sources.left() == []


def write(policy: object, file: Path) -> None:
    file.write_text(json.dumps(policy))


@pytest.mark.parametrize(
    "scope",
    ["{image}:1", "{image}:2", "{image}", "{host}/team", "{host}", "127.0.0.1", "*.0.0.1", "*.1"],
)
async def test_skopeo_accepts_an_image_by_the_scope_that_is_shown(
    registry: Registry, sources: Sources, tmp_path: Path, scope: str
) -> None:
    source = registry.store(images.image([images.layer(images.file("x"))]), "team/demo:1")
    scope = scope.format(image=f"{registry.host}/team/demo", host=registry.host)
    file = tmp_path / "policy.json"
    write({"default": REJECT, "transports": {"docker": {scope: ACCEPT}}}, file)
    sources.policy = SignaturePolicy(file=file)
    reference = parse_reference(source)
    shown = policy_scope(sources.policy, reference, reference)
    if shown.name == "default":
        with pytest.raises(PolicyRejected):
            await sources.image(source)
        return
    assert shown.name == f"docker:{scope}"
    async with sources.open(source) as opened:
        assert opened.policy == shown


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "dir", "docker-archive"])
@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_skopeo_accepts_local_images_by_the_same_scope(
    sources: Sources, tmp_path: Path, transport: str, depth: int
) -> None:
    layers = [images.layer(images.file("x"))]
    layout = images.write_layout(tmp_path / "layout", {"1": images.image(layers)})
    path, source = layout, f"oci:{layout}:1"
    if transport == "docker-archive":
        path = images.write_docker_archive(tmp_path / "image", "demo:1", layers)
        source = f"docker-archive:{path}:demo:1"
    elif transport != "oci":
        path, source = tmp_path / "image", f"{transport}:{tmp_path}/image"
        subprocess.run(["skopeo", "copy", "--quiet", f"oci:{layout}:1", source], check=True)
    scope = str([path.resolve(), *path.resolve().parents][depth])
    if transport == "docker-archive":
        scope = ""
    file = tmp_path / "policy.json"
    write({"default": REJECT, "transports": {transport: {scope: ACCEPT}}}, file)
    sources.policy = SignaturePolicy(file=file)
    async with sources.open(source) as opened:
        assert opened.policy.name == f"{transport}:{scope}"
    write({"default": REJECT, "transports": {transport: {"/other": ACCEPT}}}, file)
    if transport != "docker-archive":
        with pytest.raises(PolicyRejected):
            await sources.image(source)


async def test_policy_of_the_home_directory_does_not_count(
    registry: Registry, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = registry.store(images.image([images.layer(images.file("x"))]), "demo:1")
    home = tmp_path / ".config" / "containers"
    home.mkdir(parents=True)
    write({"default": ACCEPT}, home / "policy.json")
    monkeypatch.setenv("HOME", str(tmp_path))
    write({"default": REJECT}, tmp_path / "policy.json")
    sources.policy = SignaturePolicy(file=tmp_path / "policy.json")
    with pytest.raises(PolicyRejected):
        await sources.image(source)


async def test_conversion_of_an_old_image_needs_no_scope_of_its_own(
    sources: Sources, tmp_path: Path
) -> None:
    with Registry(tmp_path / "registry", schema1=True) as registry:
        content = images.image([images.layer(images.file("x"))])
        layout = images.write_layout(tmp_path / "layout", {"1": content})
        old = registry.push(f"oci:{layout}:1", "old:1", "--format=v2s1")
        policy = {"default": REJECT, "transports": {"docker": {registry.host: ACCEPT}}}
        write(policy, tmp_path / "policy.json")
        sources.policy = SignaturePolicy(file=tmp_path / "policy.json")
        assert len((await sources.image(old)).layers) == 1


async def test_signature_of_gpg_is_verified(
    registry: Registry, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gpg runs as skopeo's child, in its sandbox, with a home of its own."""
    keys, signatures = tmp_path / "keys", tmp_path / "signatures"
    keys.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(keys))
    quick = ("--batch", "--passphrase", "", "--quick-gen-key", "me@example", "ed25519", "sign")
    subprocess.run(["gpg", *quick], check=True, capture_output=True)
    exported = subprocess.run(["gpg", "--export"], check=True, capture_output=True).stdout
    (tmp_path / "key.gpg").write_bytes(exported)
    registries = tmp_path / ".config" / "containers" / "registries.d"
    registries.mkdir(parents=True)
    place = f"file://{signatures}"
    (registries / "default.yaml").write_text(f"default-docker:\n  lookaside: {place}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    content = images.image([images.layer(images.file("x"))])
    layout = images.write_layout(tmp_path / "layout", {"1": content})
    signed = registry.push(f"oci:{layout}:1", "gpg/signed:1", "--sign-by=me@example")
    subprocess.run(["gpgconf", "--kill", "all"], check=True)
    requirement = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": f"{tmp_path}/key.gpg"}
    write({"default": [requirement]}, tmp_path / "policy.json")
    sources.policy = SignaturePolicy(file=tmp_path / "policy.json", required=True)
    assert (await sources.image(signed)).digest == content.digest
    unsigned = registry.store(content, "gpg/unsigned:1")
    with pytest.raises(PolicyRejected, match="signature was required"):
        await sources.image(unsigned)


async def test_signed_image_with_everything_real(host: LibvirtHost, tmp_path: Path) -> None:
    """The setup of docs/administrators.md: a key, a policy, and a registry of attachments."""
    for name in ("bus", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "passphrase").write_text("of the key")
    passphrase = f"--passphrase-file={tmp_path}/passphrase"
    prefix = f"--output-prefix={tmp_path}/signing"
    subprocess.run(["skopeo", "generate-sigstore-key", passphrase, prefix], check=True)
    policy = tmp_path / "policy.json"
    settings = (
        "[storage]\nvirtual-size = 67108864\n"
        f'[registries]\npolicy = "{policy}"\nsignatures = "required"\n'
    )
    containers = tmp_path / "home" / ".config" / "containers" / "registries.d"
    containers.mkdir(parents=True)
    (containers / "default.yaml").write_text("default-docker:\n  use-sigstore-attachments: true\n")
    with (
        Registry(tmp_path / "registry") as registry,
        session_bus(tmp_path / "bus") as bus,
        virtlayerd(host, bus, tmp_path / "home", settings=settings) as daemon,
        pool_user(daemon, registry, host) as user,
    ):
        layout = images.write_layout(tmp_path / "layout", {"1": some_image("signed")})
        unsigned = registry.push(f"oci:{layout}:1", "team/unsigned:1")
        signed = registry.push(
            f"oci:{layout}:1",
            "team/signed:1",
            f"--registries.d={containers}",
            f"--sign-by-sigstore-private-key={tmp_path}/signing.private",
            f"--sign-passphrase-file={tmp_path}/passphrase",
        )
        key = {
            "type": "sigstoreSigned",
            "keyPath": f"{tmp_path}/signing.pub",
            "signedIdentity": {"type": "matchRepository"},
        }
        scope = f"{registry.host}/team"
        write({"default": REJECT, "transports": {"docker": {scope: [key]}}}, policy)
        await user.run("pull", signed, user.pool, "--tls-verify=false")
        [image] = await user.run("images", user.pool)
        assert (image["policy_scope"], image["unsigned_accepted"]) == (f"docker:{scope}", False)
        shown = await user.run("inspect", signed, "--tls-verify=false")
        assert (shown["policy_scope"], shown["unsigned_accepted"]) == (f"docker:{scope}", False)

        # Every layer of it is in the pool and in the cache, but it is not signed.
        ended = await user.fail("pull", unsigned, user.pool, "--tls-verify=false")
        assert (ended.status, "signature was required" in ended.stderr) == (4, True)
        assert len(await user.run("images", user.pool)) == 1

        # A policy that would accept it is refused before the registry is asked anything.
        write({"default": ACCEPT}, policy)
        before = registry.requests("GET")
        ended = await user.fail("pull", signed, user.pool, "--tls-verify=false")
        assert '"default"' in ended.stderr
        assert "signatures are required here" in ended.stderr
        assert registry.requests("GET") == before
