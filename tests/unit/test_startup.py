# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is made of an image's config, and how it is said to a kernel."""

import json
from pathlib import Path

import pytest

from virtlayer.client.cmdline import LIMIT, kernel_command_line
from virtlayer.client.kernels import Kernel, newest_kernel
from virtlayer.client.startup import Startup, parse_startup
from virtlayer.errors import InvalidArgument


def startup(**config: object) -> Startup:
    return parse_startup(json.dumps({"config": config}))


def line(given: Startup) -> str:
    return kernel_command_line(given, console="ttyS0", writable=True)


def test_entrypoint_and_command_are_one() -> None:
    found = startup(Entrypoint=["/a", "b"], Cmd=["c"], Env=["A=b=c", "=x", "odd.name=x", "B"])
    assert found.command == ("/a", "b", "c")
    assert found.environment == (("A", "b=c"), ("B", ""))


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", ("", "")),
        ("root", ("", "")),
        ("0", ("", "")),
        ("me:us", ("me", "us")),
        ("7", ("7", "")),
    ],
)
def test_the_user_and_the_group(user: str, expected: tuple[str, str]) -> None:
    found = startup(User=user)
    assert (found.user, found.group) == expected


@pytest.mark.parametrize("config", ["", "{}", "[]", "null", '{"config": null}', '{"config": 7}'])
def test_without_a_word_an_init_is_started(config: str) -> None:
    assert parse_startup(config) == Startup()


def test_values_of_other_types_are_no_values() -> None:
    assert startup(Cmd="sh", Env=[1], User=7, WorkingDir=None, Entrypoint={}) == Startup()


def test_an_init_is_the_kernels_own_business() -> None:
    assert line(Startup()) == "console=ttyS0 root=/dev/vda rw init=/sbin/init"
    found = startup(Entrypoint=["/lib/systemd/systemd"], Cmd=["--unit=x", "", "a b"], Env=["A=b c"])
    assert line(found).endswith('"A=b c" init=/lib/systemd/systemd -- --unit=x "" "a b"')


def test_a_program_is_started_by_the_shell() -> None:
    text = line(startup(Cmd=["run"], WorkingDir="/w", User="me"))
    before, _, script = text.partition(" -- -c ")
    assert before == "console=ttyS0 root=/dev/vda rw panic=-1 init=/bin/sh"
    assert script.startswith('"')
    assert script.endswith('"')
    assert '"' not in script[1:-1]
    assert r"cd '/w'; su -s /bin/sh 'me' -c ''\''run'\'''; echo o" in script


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("7", "setpriv --reuid='7' --regid='7' --clear-groups -- 'run'"),
        ("7:8", "setpriv --reuid='7' --regid='8' --clear-groups -- 'run'"),
        ("me:us", "setpriv --reuid='me' --regid='us' --init-groups -- 'run'"),
    ],
)
def test_other_users_are_what_setpriv_makes(user: str, expected: str) -> None:
    assert expected in line(startup(Cmd=["run"], User=user))


def test_what_a_command_line_cannot_have_is_told() -> None:
    with pytest.raises(InvalidArgument, match=str(LIMIT)):
        line(startup(Cmd=["x" * LIMIT]))
    with pytest.raises(InvalidArgument, match="line break"):
        line(startup(Cmd=["one\ntwo"]))
    with pytest.raises(InvalidArgument, match="double quote"):
        line(startup(Cmd=["/sbin/init", '"']))


def test_the_newest_kernel_is_the_one_with_the_highest_number(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="--kernel"):
        newest_kernel(tmp_path)
    for name in ("vmlinuz-6.9.1-amd64", "vmlinuz-6.12.3-amd64", "initrd.img-6.12.3-amd64"):
        (tmp_path / name).touch()
    expected = Kernel(tmp_path / "vmlinuz-6.12.3-amd64", tmp_path / "initrd.img-6.12.3-amd64")
    assert newest_kernel(tmp_path) == expected
    (tmp_path / "vmlinuz-6.13").touch()
    assert newest_kernel(tmp_path) == Kernel(tmp_path / "vmlinuz-6.13", None)
