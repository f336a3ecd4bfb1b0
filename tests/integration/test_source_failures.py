# SPDX-License-Identifier: LGPL-2.1-or-later
"""Failures at a source, and their errors."""

import dataclasses
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.directory_user import as_nobody, users_directory
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.free_ports import free_port
from tests.support.leftovers import children, nothing_left
from tests.support.registry import Registry
from tests.support.sources import Sources, blob_of, read_some, read_to_end
from virtlayer import programs
from virtlayer.errors import (
    DigestMismatch,
    ImageNotFound,
    Internal,
    MalformedLayer,
    PolicyRejected,
    RegistryUnavailable,
    VirtlayerError,
)
from virtlayer.service.source.failures import failure
from virtlayer.service.source.policy import SignaturePolicy
from virtlayer.service.source.proxy import check_protocol
from virtlayer.service.source.reference import parse_reference

LAYER = images.layer(images.file("data", os.urandom(3_000_000)))
CONTENT = images.image([LAYER])


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyRegistry]:
    async with FaultyRegistry() as registry:
        yield registry


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    sources = Sources(tmp_path)
    with nothing_left():
        yield sources
    assert sources.left() == []


async def test_no_such_image(sources: Sources, registry: Registry) -> None:
    reference = registry.store(CONTENT, "demo:1")
    for wrong in ("demo:2", "other:1", f"demo@sha256:{'0' * 64}"):
        with pytest.raises(ImageNotFound, match="Check the name"):
            await sources.image(reference.replace("demo:1", wrong))


async def test_no_registry(sources: Sources) -> None:
    with pytest.raises(RegistryUnavailable, match="connection refused"):
        await sources.image(f"docker://127.0.0.1:{free_port()}/demo:1")


async def test_a_registry_that_ends_in_between(sources: Sources, registry: Registry) -> None:
    reference = registry.store(CONTENT, "demo:1")
    async with sources.open(reference) as opened:
        registry.stop()
        with pytest.raises(RegistryUnavailable, match="try again"):
            await blob_of(opened, opened.image.layers[0])
        registry.start()
        assert await blob_of(opened, opened.image.layers[0]) == LAYER.blob


async def test_a_blob_that_is_gone(sources: Sources, registry: Registry) -> None:
    reference = registry.store(CONTENT, "demo:1")
    registry.blob_path(LAYER.digest).unlink()
    with pytest.raises(ImageNotFound, match="blob unknown"):
        await sources.blobs(reference)


@pytest.mark.parametrize(
    "content",
    [LAYER.blob[:-1], LAYER.blob + b"x", bytes(LAYER.size), b"", LAYER.blob[1:] + b"x"],
    ids=["short", "long", "zeros", "empty", "shifted"],
)
async def test_a_blob_with_other_bytes(
    sources: Sources, registry: Registry, content: bytes
) -> None:
    reference = registry.store(CONTENT, "demo:1")
    registry.blob_path(LAYER.digest).write_bytes(content)
    with pytest.raises(DigestMismatch):
        await sources.blobs(reference)


async def test_a_config_with_other_bytes(sources: Sources, registry: Registry) -> None:
    reference = registry.store(CONTENT, "demo:1")
    path = registry.blob_path(CONTENT.config_digest)
    path.write_bytes(path.read_bytes().replace(b"amd64", b"arm64"))
    with pytest.raises(DigestMismatch):
        await sources.image(reference)


@pytest.mark.parametrize("difference", [-1, 1])
@pytest.mark.parametrize("known", [False, True])
async def test_a_config_whose_size_is_wrong_in_the_manifest(
    sources: Sources, registry: Registry, difference: int, known: bool
) -> None:
    manifest = json.loads(CONTENT.manifest)
    manifest["config"]["size"] += difference
    wrong = dataclasses.replace(CONTENT, manifest=images.encode(manifest))
    reference = registry.store(wrong, "demo:1")

    async def config_of(_digest: str) -> str | None:
        return CONTENT.config.decode() if known else None

    async with sources.started(reference) as source:
        with pytest.raises(DigestMismatch, match="config"):
            await source.open(config_of)


async def test_a_manifest_with_other_bytes(sources: Sources, registry: Registry) -> None:
    reference = registry.store(CONTENT, "demo:1")
    path = registry.blob_path(CONTENT.digest)
    path.write_bytes(path.read_bytes().replace(b'"size":', b'"size": '))
    with pytest.raises(DigestMismatch):
        await sources.image(f"{reference}@{CONTENT.digest}")


async def test_a_size_that_is_wrong_in_the_manifest(sources: Sources, registry: Registry) -> None:
    for size in (LAYER.size - 1, LAYER.size + 1):
        layer = images.layer(raw=b"x" * 100_000, size=size)
        reference = registry.store(images.image([layer]), "demo:1")
        with pytest.raises(DigestMismatch):
            await sources.blobs(reference)


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        ({"default": [{"type": "reject"}]}, PolicyRejected),
        (
            {"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/no"}]},
            PolicyRejected,
        ),
        ({"default": "nonsense"}, PolicyRejected),
    ],
    ids=["reject", "unsigned", "broken"],
)
async def test_policy(
    sources: Sources,
    registry: Registry,
    tmp_path: Path,
    policy: object,
    error: type[VirtlayerError],
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    sources.policy = SignaturePolicy(file=file)
    reference = registry.store(CONTENT, "demo:1")
    with pytest.raises(error, match=r"policy\.json"):
        await sources.image(reference)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.DIE_HALF_WAY, RegistryUnavailable),
        (Fault.HANG_HALF_WAY, RegistryUnavailable),
        (Fault.HANG, RegistryUnavailable),
        (Fault.WRONG_BYTES, DigestMismatch),
        (Fault.TOO_LONG, DigestMismatch),
        (Fault.SERVER_ERROR, RegistryUnavailable),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
@pytest.mark.parametrize("what", ["manifest", "config", "blob"])
async def test_faults(
    sources: Sources,
    faulty: FaultyRegistry,
    what: str,
    fault: Fault,
    error: type[VirtlayerError],
) -> None:
    reference = faulty.store(CONTENT, "demo:1")
    faulty.faults[
        {"manifest": "1", "config": CONTENT.config_digest, "blob": LAYER.digest}[what]
    ] = fault
    if what == "manifest" and error is DigestMismatch:
        error = MalformedLayer  # a tag promises no digest
    # Starting skopeo can take longer than the patience that is enough for what hangs.
    patience = 2 if fault in {Fault.HANG, Fault.HANG_HALF_WAY} else 60
    with pytest.raises(error, match="demo:1"):
        await sources.blobs(reference, patience=patience)


async def test_skopeo_that_is_killed(sources: Sources, registry: Registry) -> None:
    layers = [images.layer(images.file("data", os.urandom(20_000_000)), compression="none")]
    reference = registry.store(images.image(layers), "demo:1")
    before = children()
    async with sources.open(reference) as opened, opened.blob(opened.image.layers[0]) as stream:
        await read_some(stream)
        for pid in children() - before:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(VirtlayerError, match="ended"):
            await read_to_end(stream)


async def test_missing_skopeo_is_reported(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "_PATH", str(tmp_path))
    with pytest.raises(Internal, match="install"):
        await sources.image("docker://127.0.0.1:1/demo:1")


@pytest.mark.parametrize("version", ["0.2.6", "0.2.8", "0.2.10", "0.2.6-dev"])
def test_protocols_that_fit(version: str) -> None:
    check_protocol(version)


@pytest.mark.parametrize("version", ["0.2.5", "0.1.9", "0.3.0", "1.0.0", "2.2.6", "", "x", None, 7])
def test_protocols_that_do_not_fit(version: object) -> None:
    with pytest.raises(Internal, match=r"0\.2\.6"):
        check_protocol(version)


@pytest.mark.parametrize(
    "reference",
    ["oci:/no:1", "oci-archive:/no.tar", "docker-archive:/no.tar", "dir:/no", "oci:/etc:1"],
)
async def test_missing_files_are_reported(sources: Sources, reference: str) -> None:
    with pytest.raises(ImageNotFound):
        await sources.image(reference)


async def test_tags_that_files_do_not_have(tmp_path: Path, sources: Sources) -> None:
    layers = [images.layer(images.file("a"), compression="none")]
    contents = {"1": images.image(layers), "2": images.image([LAYER])}
    layout = images.write_layout(tmp_path / "layout", contents)
    archive = images.write_docker_archive(tmp_path / "a.tar", "demo:1", layers)
    for reference in (f"oci:{layout}:3", f"oci:{layout}", f"docker-archive:{archive}:demo:2"):
        with pytest.raises(ImageNotFound):
            await sources.image(reference)


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
async def test_files_that_are_something_else(
    tmp_path: Path, sources: Sources, transport: str
) -> None:
    junk = tmp_path / "junk.tar"
    junk.write_bytes(b"x" * 5000)
    with pytest.raises(MalformedLayer):
        await sources.image(f"{transport}:{junk}")


@pytest.mark.parametrize("damage", [LAYER.blob[:1000], LAYER.blob + b"x", bytes(LAYER.size)])
async def test_a_damaged_layout(tmp_path: Path, sources: Sources, damage: bytes) -> None:
    layout = images.write_layout(tmp_path / "layout", {"1": CONTENT})
    (layout / "blobs" / LAYER.digest.replace(":", "/")).write_bytes(damage)
    with pytest.raises(DigestMismatch):
        await sources.blobs(f"oci:{layout}:1")


def test_archive_without_directories_is_refused_with_what_to_do() -> None:
    with users_directory() as place:
        layout = images.write_layout(place / "layout", {"1": CONTENT})
        archive = place / "archive.tar"
        with tarfile.open(archive, "w") as tar:
            for path in layout.rglob("*"):
                if path.is_file():
                    tar.add(path, path.relative_to(layout))
        name = f"oci-archive:{archive}:1"
        command = as_nobody("skopeo", f"--tmpdir={place}", "inspect", "--raw", name)
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        error = failure(parse_reference(name), ended.stderr)
    assert (ended.returncode, type(error)) == (1, MalformedLayer), ended.stderr
    assert error.message == (
        f"{name}: the archive has files without their directories, which skopeo can unpack only as "
        'root. Create it again from the directory of the image, with "tar --create --file=ARCHIVE '
        '--directory=DIRECTORY .".'
    )
