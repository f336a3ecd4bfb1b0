# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sources that callers pass by descriptors, and how the command sends them."""

import asyncio
import gzip
import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.leftovers import nothing_left
from tests.support.registry import Registry
from tests.support.sources import PLAIN, Sources
from tests.support.waiting import until
from virtlayer.client.sending import sending
from virtlayer.errors import (
    ImageNotFound,
    InvalidArgument,
    MalformedLayer,
    NoSpace,
    VirtlayerError,
)
from virtlayer.service.source import caller_source
from virtlayer.service.source.access import Access
from virtlayer.sizes import GIB

LAYERS = [images.layer(images.file("data", os.urandom(400_000))) for _ in range(2)]
CONTENT = images.image(LAYERS)


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    sources = Sources(tmp_path / "service")
    with nothing_left():
        yield sources
    assert sources.left() == []


def skopeo_copy(source: str, target: str, *options: str) -> None:
    subprocess.run(["skopeo", "copy", "--quiet", *options, source, target], check=True)


@pytest.fixture(
    params=["oci", "oci@", "oci-archive", "docker-archive", "gzip", "dir", "dir-docker", "schema-1"]
)
def local_image(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A local image, one of every kind."""
    layout = images.write_layout(tmp_path / "layout", {"1": CONTENT, "2": images.image(LAYERS[:1])})
    path = tmp_path / "image"
    match request.param:
        case "oci":
            return f"oci:{layout}:1"
        case "oci@":
            return f"oci:{layout}:@0"
        case "docker-archive":
            return f"docker-archive:{images.write_docker_archive(path, 'demo:1', LAYERS)}"
        case "gzip":
            # A compressed archive is unpacked to a temporary file first.
            plain = images.write_docker_archive(tmp_path / "plain", "demo:1", LAYERS)
            path.write_bytes(gzip.compress(plain.read_bytes(), 1))
            return f"docker-archive:{path}"
        case "schema-1":
            with Registry(tmp_path / "registry", schema1=True) as registry:
                old = registry.push(f"oci:{layout}:1", "old:1", "--format=v2s1")
                skopeo_copy(old, f"dir:{path}", "--src-tls-verify=false")
            return f"dir:{path}"
        case "dir-docker":
            skopeo_copy(f"oci:{layout}:1", f"dir:{path}", "--format=v2s2")
            return f"dir:{path}"
    source = f"{request.param}:{path}"
    skopeo_copy(f"oci:{layout}:1", source)
    return source


def uncompressed(blobs: list[bytes]) -> list[bytes]:
    return [gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob for blob in blobs]


EXPECTED = uncompressed([layer.blob for layer in LAYERS])


async def test_image_that_the_command_sends_is_read(sources: Sources, local_image: str) -> None:
    with nothing_left(), sending(local_image) as (descriptor, sent):
        blobs = await sources.blobs(local_image, Access(source_fd=descriptor.number))
        await sent.finished()
    assert uncompressed(blobs) == EXPECTED


@pytest.mark.parametrize("tag", ["2", "@1", "@x", "@", "@-1", f"@{'9' * 30}"])
def test_layout_without_such_image_is_reported_before_anything_is_sent(
    tmp_path: Path, tag: str
) -> None:
    layout = images.write_layout(tmp_path / "layout", {"1": CONTENT})
    with pytest.raises(ImageNotFound, match=f'no image "{tag}"'), sending(f"oci:{layout}:{tag}"):
        pass


async def test_archive_is_passed_as_a_file(sources: Sources, tmp_path: Path) -> None:
    path = images.write_docker_archive(tmp_path / "archive", "demo:1", LAYERS)
    with path.open("rb") as file:
        # The caller may change or remove it: what is read is a copy.
        file.seek(0, os.SEEK_END)
        access = Access(source_fd=file.fileno())
        async with sources.open(f"docker-archive:{path}:demo:1", access) as opened:
            path.write_bytes(b"")
            assert len(opened.image.layers) == 2


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_PATH])
@pytest.mark.parametrize("transport", ["oci", "dir", "docker-archive"])
async def test_directory_is_refused(
    sources: Sources, tmp_path: Path, transport: str, flags: int
) -> None:
    """Its content would be read with the rights of the service, not of the caller."""
    layout = images.write_layout(tmp_path / "layout", {"1": CONTENT})
    descriptor = os.open(layout, flags | os.O_DIRECTORY)
    with pytest.raises(InvalidArgument, match="Send a directory as an oci-archive"):
        await sources.image(f"{transport}:/x", Access(source_fd=descriptor))
    os.close(descriptor)


async def test_errors_name_the_source_as_the_caller_did(sources: Sources, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(bytes(1024))
    with path.open("rb") as file, pytest.raises(VirtlayerError, match="oci-archive:/x:1") as caught:
        await sources.image("oci-archive:/x:1", Access(source_fd=file.fileno()))
    assert str(tmp_path) not in str(caught.value)


async def test_descriptor_that_is_not_open_for_reading_is_refused(
    sources: Sources, tmp_path: Path
) -> None:
    path = images.write_docker_archive(tmp_path / "archive", "demo:1", LAYERS)
    reading, writing = os.pipe()
    descriptors = [os.open(path, os.O_WRONLY), os.open(path, os.O_PATH), writing]
    for descriptor in descriptors:
        with pytest.raises(InvalidArgument, match='"source-fd" is not open for reading'):
            await sources.image("docker-archive:/x:demo:1", Access(source_fd=descriptor))
    for descriptor in (*descriptors, reading):
        os.close(descriptor)


@pytest.mark.parametrize("path", ["/dev/zero", "/proc/self/environ"])
async def test_other_files_are_refused(sources: Sources, path: str) -> None:
    with Path(path).open("rb") as file, pytest.raises(InvalidArgument, match="source-fd"):
        await sources.image("oci-archive:/x:1", Access(source_fd=file.fileno()))


async def test_archive_without_end_is_given_up(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_source, "_SECONDS", 0.2)
    reading, writing = os.pipe()
    os.write(writing, b"some")
    with pytest.raises(InvalidArgument, match=r"gave no data for .* seconds"):
        await sources.image("oci-archive:/x:1", Access(source_fd=reading))
    os.close(reading)
    os.close(writing)


async def test_archive_that_is_larger_than_the_room_is_refused(tmp_path: Path) -> None:
    sources = Sources(tmp_path, room=1_000_000)
    with nothing_left(), Path("/dev/zero").open("rb") as zero:
        reading, writing = os.pipe()

        def feed() -> None:
            with os.fdopen(writing, "wb", buffering=0) as pipe:
                try:
                    while True:
                        pipe.write(zero.read(65536))
                except BrokenPipeError:
                    return

        feeding = threading.Thread(target=feed)
        feeding.start()
        with pytest.raises(NoSpace, match=r"976\.6 KiB"):
            await sources.image("oci-archive:/x:1", Access(source_fd=reading))
        os.close(reading)
        feeding.join()
        assert sources.left() == []
        # The room is free again.
        path = images.write_docker_archive(tmp_path / "archive", "demo:1", LAYERS)
        with path.open("rb") as file:
            image = await sources.image(
                f"docker-archive:{path}:demo:1", Access(source_fd=file.fileno())
            )
        assert len(image.layers) == 2


async def test_cancelled_copy_leaves_nothing(sources: Sources) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"some")
    opening = asyncio.create_task(sources.image("oci-archive:/x:1", Access(source_fd=reading)))
    await until(lambda: sources.left())
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    os.close(reading)
    os.close(writing)


def test_only_the_image_and_its_blobs_are_sent(tmp_path: Path) -> None:
    other = images.image([images.layer(images.file("other", os.urandom(100_000)))])
    layout = images.write_layout(tmp_path / "layout", {"1": CONTENT, "other": other})
    with (
        sending(f"oci:{layout}:1") as (descriptor, _sent),
        os.fdopen(os.dup(descriptor.number), "rb") as pipe,
        tarfile.open(fileobj=pipe, mode="r|") as archive,
    ):
        names = {member.name for member in archive if member.isfile()}
    digests = {CONTENT.digest, CONTENT.config_digest, *(layer.digest for layer in LAYERS)}
    blobs = {f"blobs/{digest.replace(':', '/')}" for digest in digests}
    assert names == {"oci-layout", "index.json", *blobs}


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("oci:{place}/none:1", ImageNotFound, "none/index.json: No such file"),
        ("oci:{place}/layout:3", ImageNotFound, 'has no image "3"'),
        ("oci:{place}/layout:@7", ImageNotFound, 'has no image "@7"'),
        ("oci:{place}/layout", ImageNotFound, "has 2 images. Name one"),
        ("oci:{place}/broken:1", MalformedLayer, "broken/index.json is not a JSON object"),
        ("oci:{place}/fifo:1", MalformedLayer, "fifo/index.json is not a regular file"),
        ("oci:{place}/lacking:1", ImageNotFound, "lacks the blob sha256:"),
        ("dir:{place}/none", ImageNotFound, "none/manifest.json: No such file"),
        ("docker-archive:{place}/none.tar:x", ImageNotFound, "none.tar: No such file"),
        ("oci-archive:{place}/layout", ImageNotFound, "layout is not a regular file"),
    ],
)
def test_files_that_cannot_be_sent_are_named(
    tmp_path: Path, source: str, error: type[VirtlayerError], words: str
) -> None:
    images.write_layout(tmp_path / "layout", {"1": CONTENT, "2": images.image(LAYERS[:1])})
    lacking = images.write_layout(tmp_path / "lacking", {"1": CONTENT})
    (lacking / "blobs" / LAYERS[0].digest.replace(":", "/")).unlink()
    for name in ("broken", "fifo"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / "index.json").write_text("[")
    os.mkfifo(tmp_path / "fifo" / "index.json")
    with nothing_left(), pytest.raises(error) as caught, sending(source.format(place=tmp_path)):
        pass
    assert words in str(caught.value)


async def test_file_that_shrinks_while_it_is_sent_is_named(tmp_path: Path) -> None:
    layer = images.layer(images.file("data", os.urandom(3_000_000)), compression="none")
    layout = images.write_layout(tmp_path / "layout", {"1": images.image([layer])})
    blob = layout / "blobs" / layer.digest.replace(":", "/")
    with sending(f"oci:{layout}:1") as (descriptor, sent):
        with os.fdopen(os.dup(descriptor.number), "rb") as pipe:
            # Its size is sent by then, and more than a pipe holds is still to come.
            pipe.read(64 * 1024)
            os.truncate(blob, 0)
            pipe.read()
        with pytest.raises(ImageNotFound, match=f"Cannot read .*{blob}"):
            await sent.finished()


async def test_path_without_a_descriptor_is_for_sessions(sources: Sources, tmp_path: Path) -> None:
    layout = images.write_layout(tmp_path / "layout", {"1": CONTENT})
    assert len(await sources.blobs(f"oci:{layout}:1", PLAIN)) == 2


async def test_archive_that_unpacks_to_more_than_the_room_is_refused(tmp_path: Path) -> None:
    sources = Sources(tmp_path / "service", room=1_000_000)
    layer = images.layer(images.file("zeros", bytes(5_000_000)), compression="none")
    plain = images.write_docker_archive(tmp_path / "plain", "demo:1", [layer])
    path = tmp_path / "archive"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    with nothing_left(), path.open("rb") as file:
        access = Access(source_fd=file.fileno())
        with pytest.raises(NoSpace, match=r"cache\.archives-limit"):
            await sources.image(f"docker-archive:{path}:demo:1", access)
    assert sources.left() == []


async def test_archive_of_many_files_is_refused_when_they_take_more_than_the_room(
    tmp_path: Path,
) -> None:
    """skopeo unpacks a compressed oci-archive; each file alone is below the limit."""
    sources = Sources(tmp_path / "service", room=3_000_000)
    layout = images.write_layout(tmp_path / "layout", {"1": CONTENT})
    path = tmp_path / "archive"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(layout, ".")
        for number in range(100):
            member = tarfile.TarInfo(f"junk{number}")
            member.size = 500_000
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    with nothing_left(), path.open("rb") as file:
        access = Access(source_fd=file.fileno())
        with pytest.raises(NoSpace, match=r"cache\.archives-limit"):
            await sources.image("oci-archive:/x:1", access)
        assert sources.left() == []
        # The room is free again.
        with tarfile.open(path, "w:gz") as archive:
            archive.add(layout, ".")
        access = Access(source_fd=file.fileno())
        assert len((await sources.image("oci-archive:/x:1", access)).layers) == 2


async def test_archive_of_many_empty_files_is_refused(tmp_path: Path) -> None:
    sources = Sources(tmp_path / "service", room=1_000_000)
    path = tmp_path / "archive"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(images.write_layout(tmp_path / "layout", {"1": CONTENT}), ".")
        for number in range(1000):
            archive.addfile(tarfile.TarInfo(str(number)))
    with nothing_left(), path.open("rb") as file, pytest.raises(NoSpace):
        await sources.image("oci-archive:/x:1", Access(source_fd=file.fileno()))
    assert sources.left() == []


@pytest.mark.parametrize("linked", [False, True])
async def test_layer_that_is_a_sparse_file_is_not_read_beyond_the_room(
    tmp_path: Path, linked: bool
) -> None:
    """An archive of 10 KiB would write 8 GiB to the disk of the cache."""
    sources = Sources(tmp_path / "service", room=1_000_000)
    place = tmp_path / "content"
    place.mkdir()
    with (place / "layer.tar").open("wb") as file:
        file.truncate(8 * GIB)
    # skopeo knows no size of a layer that is a symlink: it is measured.
    (place / "link.tar").symlink_to("layer.tar")
    diff_ids = [f"sha256:{'1' * 64}"]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = {"architecture": "amd64", "os": "linux", "rootfs": rootfs}
    (place / "config.json").write_text(json.dumps(config))
    layers = ["link.tar" if linked else "layer.tar"]
    listed = [{"Config": "config.json", "RepoTags": ["x:1"], "Layers": layers}]
    (place / "manifest.json").write_text(json.dumps(listed))
    archive = tmp_path / "archive"
    names = ("manifest.json", "config.json", "layer.tar", "link.tar")
    tar = ("tar", "--sparse", "--format=pax", "--directory", place, "--create", "--file", archive)
    subprocess.run([*tar, *names], check=True)
    assert archive.stat().st_size < 100_000
    with (
        nothing_left(),
        archive.open("rb") as file,
        pytest.raises(NoSpace, match=r"cache\.archives-limit"),
    ):
        await sources.image("docker-archive:/x:x:1", Access(source_fd=file.fileno()))
    assert sources.left() == []
