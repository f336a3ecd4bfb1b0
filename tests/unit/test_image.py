# SPDX-License-Identifier: LGPL-2.1-or-later
"""Untrusted manifests, indexes and configs."""

import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import images
from virtlayer.errors import MalformedLayer
from virtlayer.service.source.image import (
    CONFIG_LIMIT,
    LAYER_TYPES,
    MANIFEST_LIMIT,
    IndexEntry,
    assemble,
    is_schema_1,
    parse_config,
    parse_index,
    parse_manifest,
)
from virtlayer.service.source.platform import Platform
from virtlayer.service.source.reference import parse_reference

REFERENCE = parse_reference("host:5000/demo:1")
BASE = images.layer(images.file("a"))
TOP = images.layer(images.whiteout("a"), compression="zstd")
PARSERS: list[Callable[[bytes], object]] = [
    parse_manifest,
    parse_config,
    parse_index,
    is_schema_1,
]


@pytest.mark.parametrize("docker", [False, True])
def test_an_image(docker: bool) -> None:
    content = images.image([BASE, TOP], platform="linux/arm64/v8", docker=docker)
    config = content.blobs[content.config_digest]
    image = assemble(
        REFERENCE, content.digest, parse_manifest(content.manifest), parse_config(config)
    )
    assert image.image_id == content.config_digest
    assert image.platform == Platform("linux", "arm64", "v8")
    assert image.config.raw == config.decode()
    assert [(one.digest, one.size, one.diff_id) for one in image.layers] == [
        (one.digest, one.size, one.diff_id) for one in (BASE, TOP)
    ]


@pytest.mark.parametrize("media_type", sorted(LAYER_TYPES))
def test_every_media_type_of_a_layer(media_type: str) -> None:
    content = images.image([images.layer(images.file("a"), media_type=media_type)])
    assert parse_manifest(content.manifest).layers[0].media_type == media_type


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (images.layer(media_type=f"{images.OCI_LAYER}+gzip+encrypted"), "encrypted"),
        (images.layer(urls=["https://example.com/x"]), "foreign"),
        (
            images.layer(
                media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                urls=["https://example.com/x"],
            ),
            "foreign",
        ),
        (images.layer(media_type="application/x-tar"), "unknown type"),
        (images.layer(media_type=f"{images.OCI_LAYER}+xz"), "unsupported compression xz"),
        (images.layer(media_type=f"{images.OCI_LAYER}+bzip2"), "unsupported compression bzip2"),
        (
            images.layer(media_type="application/vnd.docker.image.rootfs.diff.tar.xz"),
            "unsupported compression xz",
        ),
        (images.layer(media_type=f"{images.OCI_LAYER}+x\x1b"), "unknown type"),
        (images.layer(digest="md5:0123"), "digest"),
        (images.layer(size=-1), "size"),
        (images.layer(size=2**60), "size"),
    ],
)
def test_layers_that_cannot_be_had(layer: images.LayerContent, said: str) -> None:
    with pytest.raises(MalformedLayer, match=said):
        parse_manifest(images.image([BASE, layer]).manifest)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schemaVersion": 1}, "unknown type"),
        ({"mediaType": "application/json"}, "unknown type"),
        ({"mediaType": images.OCI_INDEX}, "unknown type"),
        ({"config": None}, "not a descriptor"),
        ({"config": {"mediaType": "application/vnd.oci.empty.v1+json"}}, "digest"),
        ({"layers": None}, "no layers"),
        ({"layers": []}, "no layers"),
        ({"layers": [7]}, "not a descriptor"),
        ({"layers": [{"mediaType": images.OCI_LAYER, "digest": BASE.digest}]}, "size"),
        (
            {"layers": [{"mediaType": images.OCI_LAYER, "digest": BASE.digest, "size": True}]},
            "size",
        ),
        (
            {"layers": [{"mediaType": images.OCI_LAYER, "digest": BASE.digest, "size": 1.0}]},
            "size",
        ),
    ],
)
def test_manifests_that_are_not_right(change: dict[str, object], said: str) -> None:
    manifest = json.loads(images.image([BASE]).manifest) | change
    with pytest.raises(MalformedLayer, match=said):
        parse_manifest(images.encode(manifest))


def test_an_artifact() -> None:
    file = images.layer(raw=b"x", compression="none", media_type="application/vnd.example.disk")
    manifest = parse_manifest(images.artifact([file]).manifest)
    assert manifest.artifact_type == "application/vnd.unknown.artifact.v1"
    assert [layer.digest for layer in manifest.layers] == [file.digest]
    older = images.image([BASE], config_media_type="application/vnd.example.config")
    assert parse_manifest(older.manifest).artifact_type == "application/vnd.example.config"
    assert parse_manifest(images.image([BASE]).manifest).artifact_type == ""


def test_a_manifest_without_a_media_type_is_oci() -> None:
    manifest = json.loads(images.image([BASE]).manifest)
    del manifest["mediaType"]
    assert len(parse_manifest(images.encode(manifest)).layers) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rootfs": None}, "rootfs"),
        ({"rootfs": {"type": "other", "diff_ids": []}}, "rootfs"),
        ({"rootfs": {"type": "layers"}}, "diff_ids"),
        ({"rootfs": {"type": "layers", "diff_ids": ["sha256:0"]}}, "diff_ids"),
        ({"rootfs": {"type": "layers", "diff_ids": [1]}}, "diff_ids"),
        ({"os": ""}, "os"),
        ({"os": "li\nnux"}, "os"),
        ({"architecture": None}, "architecture"),
        ({"variant": 7}, "variant"),
    ],
)
def test_configs_that_are_not_right(change: dict[str, object], said: str) -> None:
    content = images.image([BASE], config=change)
    with pytest.raises(MalformedLayer, match=said):
        parse_config(content.blobs[content.config_digest])


def test_as_many_diff_ids_as_layers() -> None:
    content = images.image([BASE, TOP], diff_ids=[BASE.diff_id])
    manifest = parse_manifest(content.manifest)
    config = parse_config(content.blobs[content.config_digest])
    with pytest.raises(MalformedLayer, match="2 layers, but the image config has 1 diff_ids"):
        assemble(REFERENCE, content.digest, manifest, config)


@pytest.mark.parametrize("docker", [False, True])
def test_an_index(docker: bool) -> None:
    contents = [
        images.image([BASE], platform=platform, docker=docker)
        for platform in ("linux/amd64", "linux/arm/v7", "unknown/unknown")
    ]
    assert parse_index(images.index(contents, docker=docker).manifest) == (
        IndexEntry(contents[0].digest, Platform("linux", "amd64")),
        IndexEntry(contents[1].digest, Platform("linux", "arm", "v7")),
    )
    assert parse_index(contents[0].manifest) is None


def test_an_index_entry_without_platform_is_left_out() -> None:
    table = json.loads(images.index([images.image([BASE])]).manifest)
    del table["manifests"][0]["platform"]
    assert parse_index(images.encode(table)) == ()


@pytest.mark.parametrize("change", [{"manifests": None}, {"manifests": [{"digest": "x"}]}])
def test_an_index_that_is_not_right(change: dict[str, object]) -> None:
    table = json.loads(images.index([images.image([BASE])]).manifest) | change
    with pytest.raises(MalformedLayer):
        parse_index(images.encode(table))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"7",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
        b'{"schemaVersion":' + b"9" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("parse", PARSERS)
def test_no_json_object(parse: Callable[[bytes], object], content: bytes) -> None:
    with pytest.raises(MalformedLayer):
        parse(content)


def test_too_large() -> None:
    for parse in PARSERS:
        limit = CONFIG_LIMIT if parse is parse_config else MANIFEST_LIMIT
        with pytest.raises(MalformedLayer, match="larger than"):
            parse(b"{" + b" " * limit + b"}")


_KEYS = (
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "digest",
    "size",
    "urls",
    "platform",
    "os",
    "architecture",
    "variant",
    "rootfs",
    "type",
    "diff_ids",
)
_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([BASE.digest, images.OCI_MANIFEST, images.OCI_LAYER, images.OCI_CONFIG, 2]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_KEYS),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(_JUNK)
def test_junk_is_malformed_and_nothing_else(value: object) -> None:
    content = json.dumps(value).encode()
    for parse in PARSERS:
        try:
            parse(content)
        except MalformedLayer as error:
            assert error.message.isprintable()  # noqa: PT017 -- junk may also be right


@given(st.data())
def test_one_wrong_value_in_a_right_manifest(data: st.DataObject) -> None:
    content = images.image([BASE, TOP])
    table = json.loads(
        data.draw(st.sampled_from([content.manifest, content.blobs[content.config_digest]]))
    )
    place = table
    while isinstance(place, dict) and place:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or data.draw(st.booleans()):
            place[key] = data.draw(_JUNK)
            break
        place = place[key]
    for parse in PARSERS:
        try:
            parse(json.dumps(table).encode())
        except MalformedLayer as error:
            assert error.message.isprintable()  # noqa: PT017 -- it may still be right


@given(st.binary(max_size=200))
def test_noise(content: bytes) -> None:
    for parse in PARSERS:
        # Noise can be an object of JSON, which is not an index and not of schema 1.
        with contextlib.suppress(MalformedLayer):
            assert parse(content) in {None, False}
