# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where registries.conf may lead a reference."""

from pathlib import Path

import pytest

from virtlayer.service.source.reference import parse_reference
from virtlayer.service.source.registries import Route, route_of

REFERENCE = parse_reference("docker://registry.example/team/image:1")
MIRRORED = """
[[registry]]
prefix = "registry.example/team"
location = "inner.example:5000/copy"
[[registry.mirror]]
location = "mirror.example"
insecure = true
[[registry]]
location = "unrelated.example"
insecure = true
[[registry.mirror]]
location = "hidden.example"
"""


def route(directory: Path, content: str, reference: str = str(REFERENCE)) -> Route:
    (directory / "registries.conf").write_text(content)
    return route_of(parse_reference(reference), (directory,))


def test_without_a_file_there_is_one_registry(tmp_path: Path) -> None:
    assert route_of(REFERENCE, (tmp_path,)) == Route(frozenset({"registry.example"}), False)


def test_mirrors_and_locations_count(tmp_path: Path) -> None:
    expected = {"registry.example", "inner.example:5000", "mirror.example"}
    assert route(tmp_path, MIRRORED) == Route(frozenset(expected), True)


@pytest.mark.parametrize(
    ("prefix", "applies"),
    [
        ("registry.example", True),
        ("registry.example/team/image", True),
        ("registry.example/team/image:1", False),
        ("registry.example/tea", False),
        ("*.example", True),
        ("*.example.com", False),
    ],
)
def test_prefix_covers_whole_names(tmp_path: Path, prefix: str, applies: bool) -> None:
    content = f'[[registry]]\nprefix = "{prefix}"\nlocation = "x.test"\ninsecure = true\n'
    found = route(tmp_path, content)
    assert ("x.test" in found.registries, found.insecure) == (applies, applies)


def test_drop_ins_and_the_first_version_count(tmp_path: Path) -> None:
    (tmp_path / "registries.conf.d").mkdir()
    (tmp_path / "registries.conf.d" / "one.conf").write_text(MIRRORED)
    found = route(tmp_path, "[registries.insecure]\nregistries = ['other.example']\n")
    assert "mirror.example" in found.registries
    first = "[registries.insecure]\nregistries = ['registry.example']\n"
    (tmp_path / "registries.conf.d" / "one.conf").unlink()
    assert route(tmp_path, first).insecure


@pytest.mark.parametrize("content", ["[", "\udcff", "a = " + "[" * 5000])
def test_file_that_cannot_be_understood_proves_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "registries.conf").write_bytes(content.encode(errors="surrogateescape"))
    assert route_of(REFERENCE, (tmp_path,)).insecure


def test_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    configuration = tmp_path / "registries.conf"
    for insecure in ("true ", "false", "true ", "false"):
        table = f'[[registry]]\nlocation = "registry.example"\ninsecure = {insecure}\n'
        configuration.write_text(table)
        found = route_of(parse_reference("docker://registry.example/demo"), (tmp_path,))
        assert found.insecure == (insecure == "true ")
