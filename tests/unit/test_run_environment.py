# SPDX-License-Identifier: LGPL-2.1-or-later
"""The variables of ``virtlayer run``. The expected values are those of podman 5.4."""

from pathlib import Path

import pytest

from virtlayer.client.environment import environment_of
from virtlayer.errors import InvalidArgument

_OWN = {"FOO": "foo", "DEB": "1", "DEC": "", "HOME": "/home/user"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["A=1", "B=", "C=a=b"], ["A=1", "B=", "C=a=b"]),
        (["FOO"], ["FOO=foo"]),
        (["MISSING"], []),
        (["DE*"], ["DEB=1", "DEC="]),
        (["DE*=x"], ["DE*=x"]),
        ([" \tA=1 "], ["A=1 "]),
        (["A B=1"], ["A B=1"]),
        (["A=1", "B=2", "A=3"], ["A=3", "B=2"]),
        ([""], []),
        (["#A=1"], ["#A=1"]),
        (["A=two\nlines"], ["A=two\nlines"]),
    ],
)
def test_variables_of_the_command_line(given: list[str], found: list[str]) -> None:
    assert environment_of([], given, _OWN) == found


def test_the_star_alone_takes_all_variables() -> None:
    assert environment_of([], ["*"], _OWN) == [f"{name}={_OWN[name]}" for name in _OWN]


def test_variables_of_files_come_before_those_of_the_command_line(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"# comment\n\n  A=1\r\nB=two words \nFOO\nMISSING\n\t#C=1\nD='x' # y\n")
    second.write_text("A=2\nDE*")

    assert environment_of([first, second], ["B=3"], _OWN) == [
        *("A=2", "B=3", "FOO=foo", "D='x' # y", "DEB=1", "DEC=")
    ]


@pytest.mark.parametrize("given", ["=secret", "=", " =secret"])
def test_a_variable_without_a_name_is_refused_without_showing_it(given: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        environment_of([], [given], _OWN)
    assert caught.value.message == "A variable of -e has no name. Write NAME=VALUE, or NAME."


def test_an_invalid_line_of_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "variables"
    path.write_text("A=1\n=secret\n")

    with pytest.raises(InvalidArgument) as caught:
        environment_of([path], [], _OWN)
    assert caught.value.message.startswith(f"Line 2 of --env-file {path} has no name.")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    binary, large = tmp_path / "binary", tmp_path / "large"
    binary.write_bytes(b"A=\xff")
    large.write_bytes(b"#" * (1024 * 1024 + 1))

    for path, reason in (
        (tmp_path / "missing", "No such file"),
        (binary, "is not a text file in UTF-8"),
        (large, "is too large"),
    ):
        with pytest.raises(InvalidArgument, match=f"--env-file {path}.*{reason}"):
            environment_of([path], [], _OWN)
