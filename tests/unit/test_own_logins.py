# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command finds its caller's logins where containers-auth.json(5) says they are."""

import json
import os
from pathlib import Path

import pytest

from virtlayer.client.logins import usual_logins
from virtlayer.client.memory import content_descriptor
from virtlayer.errors import InvalidArgument


def login(path: Path, **logins: str) -> dict[str, dict[str, str]]:
    """Write a file of logins, and return them."""
    found = {key.replace("__", "/").replace("_", "."): {"auth": of} for key, of in logins.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    content = found if path.name == ".dockercfg" else {"auths": found, "credsStore": "a-program"}
    path.write_text(json.dumps(content))
    return found


def found(environment: dict[str, str]) -> object:
    content = usual_logins(environment)
    return None if content is None else json.loads(content)["auths"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        (None, "run/containers/auth.json"),
        (None, ".config/containers/auth.json"),
        (None, ".docker/config.json"),
        (None, ".dockercfg"),
        ("XDG_CONFIG_HOME", "containers/auth.json"),
        ("DOCKER_CONFIG", "config.json"),
        ("REGISTRY_AUTH_FILE", ""),
    ],
)
def test_each_file_is_found(
    tmp_path: Path, environment: dict[str, str], variable: str | None, path: str
) -> None:
    place = tmp_path / "elsewhere" if variable else tmp_path
    file = place / path if path else place
    logins = login(file, host="pair")
    given = environment | ({variable: str(place)} if variable else {})
    assert found(given) == logins


def test_without_a_file_there_are_no_logins(environment: dict[str, str]) -> None:
    assert found(environment) is None


def test_first_file_takes_precedence_for_its_registries(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    first = login(tmp_path / "run/containers/auth.json", a_x="1", b_x__team="1")
    login(
        tmp_path / ".docker/config.json",
        a_x__deep="2",
        b_x__team__deep="2",
        b_x="2",
        c_x="2",
    )
    assert found(environment) == first | {"b.x": {"auth": "2"}, "c.x": {"auth": "2"}}


def test_names_of_docker_hub_are_one(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "run/containers/auth.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"auths": {"https://index.docker.io/v1/": {"auth": "1"}}}')
    login(tmp_path / ".docker/config.json", docker_io="2")
    assert found(environment) == {"https://index.docker.io/v1/": {"auth": "1"}}


def test_entries_of_a_helper_are_empty(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / ".docker/config.json"
    path.parent.mkdir()
    path.write_text('{"auths": {"host": {}}, "credsStore": "pass"}')
    assert found(environment) is None


@pytest.mark.parametrize("content", ["", "[]", '{"auths": 1}', '{"auths": {"a": "hunter2"}}'])
def test_damaged_file_is_named(tmp_path: Path, environment: dict[str, str], content: str) -> None:
    path = tmp_path / ".docker/config.json"
    path.parent.mkdir()
    path.write_text(content)
    if content == '{"auths": {"a": "hunter2"}}':
        assert found(environment) is None
        return
    with pytest.raises(InvalidArgument, match=r"\.docker/config\.json.*--authfile") as caught:
        found(environment)
    assert "hunter2" not in str(caught.value)


def test_content_is_passed_in_memory() -> None:
    with content_descriptor(b"secret") as descriptor:
        assert os.pread(descriptor.number, 100, 0) == b"secret"
        assert str(Path(f"/proc/self/fd/{descriptor.number}").readlink()).startswith("/memfd:")
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor.number)
