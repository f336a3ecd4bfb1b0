# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which scope of a policy.json is about an image."""

import json
from pathlib import Path

import pytest

from virtlayer.errors import PolicyRejected
from virtlayer.service.source.policy import PolicyScope, SignaturePolicy, policy_scope
from virtlayer.service.source.reference import parse_reference

ACCEPT, SIGNED, REJECT = (
    {"type": "insecureAcceptAnything"},
    {"type": "sigstoreSigned", "keyPath": "/key.pub"},
    {"type": "reject"},
)
IMAGE = "docker://a.b.example:5000/team/image:1"
DIGEST = f"sha256:{'0' * 64}"


def scope_of(
    directory: Path, policy: object, source: str = IMAGE, *, required: bool = False
) -> PolicyScope:
    file = directory / "policy.json"
    file.write_text(json.dumps(policy))
    reference = parse_reference(source)
    return policy_scope(SignaturePolicy(file=file, required=required), reference, reference)


@pytest.mark.parametrize(
    ("source", "scopes"),
    [
        (
            IMAGE,
            [
                "a.b.example:5000/team/image:1",
                "a.b.example:5000/team/image",
                "a.b.example:5000/team",
                "a.b.example:5000",
                "*.b.example",
                "*.example",
                "",
            ],
        ),
        ("debian", ["docker.io/library/debian:latest", "docker.io/library", "docker.io", "*.io"]),
        (f"docker://x.y/z:1@{DIGEST}", [f"x.y/z@{DIGEST}", "x.y/z", "x.y", "*.y", ""]),
        ("oci:/srv/images/layout:1", ["/srv/images/layout", "/srv/images", "/srv", ""]),
        ("oci-archive:/srv/image.tar:1", ["/srv/image.tar", "/srv", ""]),
        ("dir:/srv/image", ["/srv/image", "/srv", ""]),
        ("docker-archive:/srv/image.tar:x", [""]),
    ],
)
def test_most_specific_scope_counts(tmp_path: Path, source: str, scopes: list[str]) -> None:
    transport = parse_reference(source).transport
    left = {scope: [SIGNED] for scope in scopes} | {"other": [REJECT], "/": [REJECT]}
    for scope in scopes:
        policy = {"default": [REJECT], "transports": {transport: left}}
        assert scope_of(tmp_path, policy, source).name == f"{transport}:{scope}"
        del left[scope]
    policy = {"default": [REJECT], "transports": {transport: left, "atomic": {"": [ACCEPT]}}}
    assert scope_of(tmp_path, policy, source).name == "default"


@pytest.mark.parametrize(
    ("requirements", "accepts"),
    [
        ([ACCEPT], True),
        ([ACCEPT, ACCEPT], True),
        ([ACCEPT, SIGNED], False),
        ([SIGNED], False),
        ([REJECT], False),
        ([{"type": "of the future"}], False),
    ],
)
def test_all_requirements_must_accept_unsigned_images(
    tmp_path: Path, requirements: list[object], accepts: bool
) -> None:
    assert scope_of(tmp_path, {"default": requirements}).accepts_unsigned == accepts


def test_unsigned_images_are_refused_where_signatures_are_required(tmp_path: Path) -> None:
    policy = {"default": [SIGNED], "transports": {"docker": {"a.b.example:5000": [ACCEPT]}}}
    with pytest.raises(PolicyRejected, match=r'"docker:a\.b\.example:5000" in .*policy\.json'):
        scope_of(tmp_path, policy, required=True)
    assert scope_of(tmp_path, policy, "docker://other/x", required=True).name == "default"


def test_link_does_not_lead_around_a_scope(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    real = str((tmp_path / "real").resolve())
    policy = {"default": [ACCEPT], "transports": {"oci": {real: [REJECT]}}}
    assert scope_of(tmp_path, policy, f"oci:{tmp_path}/link:1").name == f"oci:{real}"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[" * 60_000,
        '{"default": []}',
        '{"default": "x"}',
        '{"default": [{"type": "reject"}], "transports": []}',
        '{"default": [{"type": "reject"}], "transports": {"docker": []}}',
        '{"default": [{"type": "reject"}], "transports": {"docker": {"": {}}}}',
    ],
    ids=lambda content: content[:40],
)
def test_invalid_policy_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "policy.json"
    file.write_text(content)
    reference = parse_reference(IMAGE)
    with pytest.raises(PolicyRejected, match=f"{file} is invalid"):
        policy_scope(SignaturePolicy(file=file), reference, reference)


def test_missing_policy_is_named(tmp_path: Path) -> None:
    reference = parse_reference(IMAGE)
    with pytest.raises(PolicyRejected, match=r"registries\.policy.* cannot be read"):
        policy_scope(SignaturePolicy(file=tmp_path / "none.json"), reference, reference)
