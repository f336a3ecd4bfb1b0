# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images of every kind, from a real registry and from files."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.leftovers import children, nothing_left
from tests.support.registry import Registry
from tests.support.sources import PLAIN, Sources, blob_of, read_some
from tests.support.waiting import until
from virtlayer.errors import (
    DigestMismatch,
    ImageNotFound,
    MalformedLayer,
    PlatformNotFound,
    RegistryUnavailable,
)
from virtlayer.service.source import proxies
from virtlayer.service.source.platform import Platform

BASE = images.layer(images.directory("etc"), images.file("etc/motd", b"hello\n"))
TOP = images.layer(images.whiteout("etc/motd"), compression="zstd")
PLAIN_TAR = images.layer(images.file("a", b"a"), compression="none")
FILES = [images.file("base", os.urandom(300_000)), images.file("top", b"top")]
BIG = [images.layer(images.file("data", os.urandom(5_000_000))) for _ in range(6)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry"), schema1=True) as registry:
        yield registry


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    sources = Sources(tmp_path)
    with nothing_left():
        yield sources
    assert sources.left() == []


def skopeo_copy(source: str, target: str, *options: str) -> str:
    subprocess.run(["skopeo", "copy", "--quiet", *options, source, target], check=True)
    return target


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "schema-2"])
async def test_from_a_registry(registry: Registry, sources: Sources, docker: bool) -> None:
    layers = [BASE] if docker else [BASE, TOP, PLAIN_TAR]
    content = images.image(layers, docker=docker)
    reference = registry.store(content, f"kinds/{docker}:1".lower())
    image = await sources.image(reference)
    assert image.digest == content.digest
    assert image.image_id == content.config_digest
    assert image.platform == Platform("linux", "amd64")
    assert image.config.raw.encode() == content.blobs[content.config_digest]
    assert [layer.diff_id for layer in image.layers] == [layer.diff_id for layer in layers]
    assert await sources.blobs(reference) == [layer.blob for layer in layers]


async def test_schema_1_is_converted(registry: Registry, sources: Sources) -> None:
    # A whole directory in between has no layer of its own in schema 1's history.
    second = images.layer(images.file("b", b"b"))
    modern = registry.store(images.image([BASE, second], docker=True), "modern:1")
    reference = registry.push(modern, "old:1", "--format=v2s1", "--src-tls-verify=false")
    async with sources.open(reference) as opened:
        image = opened.image
        assert [layer.diff_id for layer in image.layers] == [BASE.diff_id, second.diff_id]
        assert str(image.reference) == reference
        assert (await opened.index()).digest == image.digest
        assert [await blob_of(opened, layer) for layer in image.layers] == [
            BASE.blob,
            second.blob,
        ]
    again = await sources.image(f"{reference}@{image.digest}")
    assert again.digest == image.digest
    assert again.image_id == image.image_id


@pytest.mark.parametrize("docker", [False, True], ids=["index", "manifest-list"])
async def test_platforms(registry: Registry, sources: Sources, docker: bool) -> None:
    contents = {
        platform: images.image(
            [images.layer(images.file("which", platform.encode()))],
            platform=platform,
            docker=docker,
        )
        for platform in ("linux/amd64", "linux/arm64/v8", "linux/arm/v7", "linux/arm/v6")
    }
    index = images.index(contents.values(), docker=docker)
    reference = registry.store(index, f"many/{docker}:1".lower())
    for platform, content in contents.items():
        async with sources.open(reference, platform=platform) as opened:
            assert opened.image.digest == content.digest
            assert (await opened.index()).digest == index.digest
            assert list(map(str, await opened.platforms())) == list(contents)
            (blob,) = [await blob_of(opened, layer) for layer in opened.image.layers]
            assert images.digest_of(blob) == opened.image.layers[0].digest
    assert (await sources.image(reference)).platform == Platform("linux", "amd64")
    with pytest.raises(PlatformNotFound, match="s390x"):
        await sources.image(reference, platform="linux/s390x")


async def test_an_image_without_an_index_for_another_platform(
    registry: Registry, sources: Sources
) -> None:
    reference = registry.store(images.image([BASE], platform="linux/s390x"), "alone:1")
    async with sources.open(reference) as opened:
        assert await opened.platforms() == (Platform("linux", "s390x"),)
    with pytest.raises(PlatformNotFound, match="for linux/s390x only, not for linux/amd64"):
        await sources.image(reference, platform="linux/amd64")


async def test_tag_and_digest_together(registry: Registry, sources: Sources) -> None:
    old, new = images.image([BASE]), images.image([BASE, TOP])
    registry.store(old, "moved:1")
    reference = registry.store(new, "moved:1")
    assert (await sources.image(reference)).digest == new.digest
    assert (await sources.image(f"{reference}@{old.digest}")).digest == old.digest
    plain = reference.removesuffix(":1")
    assert (await sources.image(f"{plain}@{old.digest}")).digest == old.digest


async def test_a_tag_is_read_once(registry: Registry, sources: Sources) -> None:
    content = images.image(BIG)
    reference = registry.store(content, "once:1")
    async with sources.open(reference) as opened:
        # From here on the tag means something else, and it must not matter.
        registry.store(images.image([BASE]), "once:1")
        reading = (blob_of(opened, layer) for layer in opened.image.layers)
        assert await asyncio.gather(*reading) == [layer.blob for layer in BIG]
        assert registry.requests("GET /v2/once/manifests/1 ") == 1
        with pytest.raises(RegistryUnavailable, match="changed while it was read"):
            await opened.platforms()


async def test_started_source_sends_no_requests(registry: Registry, sources: Sources) -> None:
    reference = registry.store(images.image([BASE]), "started:1")
    before = children()
    async with sources.started(reference):
        await until(lambda: children() - before)
        # Long enough for a request.
        await asyncio.sleep(0.1)
    async with sources.started(reference):
        pass
    assert registry.requests("/started/") == 0


async def test_a_config_that_is_known_is_not_asked_for(
    registry: Registry, sources: Sources
) -> None:
    content = images.image([BASE])
    reference = registry.store(content, "known:1")
    text = content.blobs[content.config_digest].decode()
    asked = []

    async def known(digest: str) -> str | None:
        asked.append(digest)
        return {1: text, 2: text.replace("linux", "minix")}.get(len(asked))

    async def config() -> str:
        async with sources.started(reference) as source:
            return (await source.open(known)).image.config.raw

    assert await config() == text
    assert registry.requests("/known/blobs/") == 0
    # What is not what the digest says, or not known at all, is.
    assert await config() == text
    assert await config() == text
    # It may log a request after the answer has arrived.
    await until(lambda: registry.requests("/known/blobs/") >= 2)
    assert registry.requests("/known/blobs/") == 2
    assert asked == [content.config_digest] * 3


async def test_closing_image_stops_its_processes(registry: Registry, sources: Sources) -> None:
    reference = registry.store(images.image([BASE]), "let-go:1")
    before = children()
    async with sources.open(reference) as opened:
        assert children() - before
        opened.let_go()
        await until(lambda: not children() - before)
        assert await blob_of(opened, opened.image.layers[0]) == BASE.blob


@pytest.mark.parametrize("near", [True, False])
async def test_small_blobs_share_a_proxy_where_that_is_quick(
    registry: Registry, sources: Sources, monkeypatch: pytest.MonkeyPatch, near: bool
) -> None:
    monkeypatch.setattr(proxies, "_PATIENCE", 60.0 if near else 0.0)
    small = [images.layer(images.file(f"file-{number}", b"x")) for number in range(6)]
    async with sources.open(registry.store(images.image(small), "small:1")) as opened:
        before = children()
        blobs = await asyncio.gather(*(blob_of(opened, layer) for layer in opened.image.layers))
        assert blobs == [layer.blob for layer in small]
        assert len(children() - before) == (0 if near else proxies.STREAMS - 1)


async def test_large_blobs_come_at_the_same_time(registry: Registry, sources: Sources) -> None:
    async with sources.open(registry.store(images.image(BIG), "large:1")) as opened:
        before = children()
        blobs = await asyncio.gather(*(blob_of(opened, layer) for layer in opened.image.layers))
        assert blobs == [layer.blob for layer in BIG]
        assert len(children() - before) == proxies.STREAMS - 1


async def test_a_stream_that_is_left_early(registry: Registry, sources: Sources) -> None:
    reference = registry.store(images.image(BIG), "early:1")
    async with sources.open(reference) as opened:
        for layer in opened.image.layers:
            async with opened.blob(layer) as stream:
                assert await read_some(stream)
                assert not stream.complete
        assert await blob_of(opened, opened.image.layers[0]) == BIG[0].blob


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 20, 30, 40, 50, 60, 80, 100, 150])
async def test_cancelled_at_any_time(
    registry: Registry, sources: Sources, milliseconds: int
) -> None:
    reference = registry.store(images.image(BIG, docker=True), "cancelled:1")
    task = asyncio.create_task(sources.blobs(reference))
    await asyncio.sleep(milliseconds / 1000)
    task.cancel()
    await asyncio.wait([task])
    # It was cancelled, or done before.
    assert task.cancelled() or task.result() == [layer.blob for layer in BIG]


@pytest.mark.parametrize("tagged", [True, False])
async def test_from_a_layout(tmp_path: Path, sources: Sources, tagged: bool) -> None:
    layers = [BASE, TOP, PLAIN_TAR]
    content = images.image(layers)
    layout = images.write_layout(tmp_path / "layout", {"1": content})
    reference = f"oci:{layout}:1" if tagged else f"oci:{layout}"
    assert (await sources.image(reference)).digest == content.digest
    assert await sources.blobs(reference) == [layer.blob for layer in layers]


async def test_from_a_position_in_a_layout(tmp_path: Path, sources: Sources) -> None:
    contents = {"1": images.image([BASE]), "2": images.image([TOP])}
    layout = images.write_layout(tmp_path / "layout", contents)
    for position, content in enumerate(contents.values()):
        assert (await sources.image(f"oci:{layout}:@{position}")).digest == content.digest
    with pytest.raises(ImageNotFound):
        await sources.image(f"oci:{layout}:@2")


async def test_from_an_index_in_a_layout(tmp_path: Path, sources: Sources) -> None:
    arm = images.image([TOP], platform="linux/arm64")
    index = images.index([images.image([BASE]), arm])
    layout = images.write_layout(tmp_path / "layout", {"all": index})
    async with sources.open(f"oci:{layout}:all", platform="linux/arm64") as opened:
        assert opened.image.digest == arm.digest
        assert list(map(str, await opened.platforms())) == ["linux/amd64", "linux/arm64"]


async def test_from_an_oci_archive(tmp_path: Path, sources: Sources) -> None:
    layout = images.write_layout(tmp_path / "layout", {"1": images.image([BASE, TOP])})
    archive = skopeo_copy(f"oci:{layout}:1", f"oci-archive:{tmp_path}/archive.tar:1")
    assert await sources.blobs(archive) == [BASE.blob, TOP.blob]


@pytest.mark.parametrize("docker", [False, True])
async def test_from_a_directory(
    registry: Registry, tmp_path: Path, sources: Sources, docker: bool
) -> None:
    content = images.image([BASE], docker=docker)
    reference = registry.store(content, "for-dir:1")
    directory = skopeo_copy(reference, f"dir:{tmp_path}/image", "--src-tls-verify=false")
    assert (await sources.image(directory)).image_id == content.config_digest
    assert await sources.blobs(directory) == [BASE.blob]


@pytest.mark.parametrize("name", ["", ":demo:1", ":@0"])
async def test_from_a_docker_archive(tmp_path: Path, sources: Sources, name: str) -> None:
    second = images.layer(images.file("b", b"b"), compression="none")
    layers = [PLAIN_TAR, second]
    archive = images.write_docker_archive(tmp_path / "a.tar", "demo:1", layers)
    reference = f"docker-archive:{archive}{name}"
    image = await sources.image(reference)
    assert [layer.diff_id for layer in image.layers] == [layer.diff_id for layer in layers]
    assert images.digest_of(image.config.raw.encode()) == image.image_id
    assert await sources.blobs(reference) == [layer.blob for layer in layers]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (images.image([images.layer(media_type=f"{images.OCI_LAYER}+encrypted")]), "encrypted"),
        (
            images.image(
                [
                    images.layer(
                        media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                        urls=["https://example.com/layer"],
                    )
                ],
                docker=True,
            ),
            "foreign",
        ),
        (images.image([BASE], config_media_type="application/vnd.example.x+json"), "artifact"),
        (images.image([BASE], diff_ids=[]), "diff_ids"),
        (images.image([BASE], config={"rootfs": 7}), "rootfs"),
    ],
    ids=["encrypted", "foreign", "artifact", "diff-ids", "config"],
)
async def test_invalid_images_are_refused(
    registry: Registry, sources: Sources, content: images.Content, said: str
) -> None:
    reference = registry.store(content, "none:1")
    with pytest.raises(MalformedLayer, match=said) as caught:
        await sources.image(reference, PLAIN)
    assert caught.value.message.startswith(reference)


async def test_from_a_docker_archive_whose_images_share_a_layer_by_a_symlink(
    tmp_path: Path, sources: Sources
) -> None:
    """skopeo says that such a layer has no bytes (docker save up to version 24, Bazel)."""
    base, top = (images.layer(raw=images.tar(file), compression="none") for file in FILES)
    archive = images.write_linked_docker_archive(tmp_path / "a.tar", base, top)

    for name, layers in ((":@0", [base]), (":@1", [base, top]), (":linked:2", [base, top])):
        reference = f"docker-archive:{archive}{name}"
        image = await sources.image(reference)
        assert [layer.size for layer in image.layers] == [layer.size for layer in layers]
        assert await sources.blobs(reference) == [layer.blob for layer in layers]


async def test_from_a_docker_archive_with_a_symlink_to_another_layer(
    tmp_path: Path, sources: Sources
) -> None:
    base, top = (images.layer(raw=images.tar(file), compression="none") for file in FILES)
    archive = images.write_linked_docker_archive(tmp_path / "a.tar", base, top, target="second")
    with pytest.raises(DigestMismatch):
        await sources.blobs(f"docker-archive:{archive}:@1")
