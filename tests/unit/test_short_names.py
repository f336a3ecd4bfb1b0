# SPDX-License-Identifier: LGPL-2.1-or-later
"""Short names of images, resolved by registries.conf."""

from pathlib import Path

import pytest

from virtlayer.errors import InvalidReference
from virtlayer.service.source.short_names import parse_resolved

ALIASES = """
[aliases]
"fedora" = "registry.fedoraproject.org/fedora"
"team/app" = "quay.io/team/app"
"gone" = "quay.io/gone"
"""


def write(directory: Path, content: str, drop_in: str = "") -> None:
    (directory / "registries.conf.d").mkdir(parents=True)
    if content:
        (directory / "registries.conf").write_text(content)
    (directory / "registries.conf.d" / "one.conf").write_text(drop_in)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fedora:42", "docker://registry.fedoraproject.org/fedora:42"),
        ("fedora", "docker://registry.fedoraproject.org/fedora:latest"),
        ("team/app", "docker://quay.io/team/app:latest"),
        ("debian:13", "docker://docker.io/library/debian:13"),
        ("docker://fedora:42", "docker://docker.io/library/fedora:42"),
        ("docker.io/fedora", "docker://docker.io/library/fedora:latest"),
        ("localhost/fedora", "docker://localhost/fedora:latest"),
        ("oci:/layout:fedora", "oci:/layout:fedora"),
    ],
)
def test_alias_is_used_for_short_names_only(tmp_path: Path, text: str, expected: str) -> None:
    write(tmp_path, ALIASES)
    assert str(parse_resolved(text, (tmp_path,))) == expected


def test_one_search_registry_is_used(tmp_path: Path) -> None:
    write(tmp_path, 'unqualified-search-registries = ["quay.io"]\n')
    assert str(parse_resolved("a/b:1", (tmp_path,))) == "docker://quay.io/a/b:1"


def test_several_search_registries_are_an_error_with_candidates(tmp_path: Path) -> None:
    write(tmp_path, 'unqualified-search-registries = ["quay.io", "docker.io"]\n')
    candidates = r"docker://quay\.io/x:1, docker://docker\.io/x:1"
    with pytest.raises(InvalidReference, match=candidates):
        parse_resolved("x:1", (tmp_path,))


def test_user_s_file_replaces_the_system_s_and_drop_ins_override(tmp_path: Path) -> None:
    system, user = tmp_path / "system", tmp_path / "user"
    write(system, 'unqualified-search-registries = ["quay.io"]\n', ALIASES)
    write(user, "[aliases]\n", '[aliases]\n"gone" = ""\n"fedora" = "example.com/f"\n')
    directories = (system, user)
    assert str(parse_resolved("fedora", directories)) == "docker://example.com/f:latest"
    assert str(parse_resolved("gone", directories)) == "docker://docker.io/library/gone:latest"
    assert str(parse_resolved("team/app", directories)) == "docker://quay.io/team/app:latest"


def test_damaged_file_counts_as_empty(tmp_path: Path) -> None:
    write(tmp_path, "[aliases\n")
    assert str(parse_resolved("x", (tmp_path,))) == "docker://docker.io/library/x:latest"
