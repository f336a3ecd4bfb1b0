# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images and configurations with which the init cannot start, or that try to mislead it."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.guest import busybox_tree
from tests.support.guest_container import run_in_container
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import RecordKind

pytestmark = pytest.mark.root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return busybox_tree(tmp_path)


def _replace(path: Path) -> Path:
    path.unlink()
    return path


def _fifo(path: Path) -> None:
    os.mkfifo(_replace(path))


def _directory(path: Path) -> None:
    _replace(path).mkdir()


def _device(path: Path) -> None:
    os.mknod(_replace(path), 0o020644, os.makedev(1, 5))


def _huge(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(1 << 40)


def _loop(path: Path) -> None:
    _replace(path).symlink_to(path.name)


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("change", [_fifo, _directory, _device, _huge, _loop])
def test_file_of_users_that_is_unusable_fails_the_start(
    tree: Path, tmp_path: Path, name: str, change: object
) -> None:
    assert callable(change)
    change(tree / "etc" / name)
    config = GuestConfig(arguments=("true",), user="app")
    output = run_in_container(tree, config, tmp_path / "init")
    assert (output.status, f"/etc/{name}" in output.failure) == (126, True)
    assert [record.kind for record in output.records[-2:]] == [RecordKind.FAILED, RecordKind.EXIT]


def test_link_to_users_does_not_leave_the_image(tree: Path, tmp_path: Path) -> None:
    (tree / "etc/passwd").rename(tree / "users")
    (tree / "etc/passwd").symlink_to("../../../../users")
    config = GuestConfig(arguments=("id", "-u"), user="app")
    output = run_in_container(tree, config, tmp_path / "init")
    assert (output.stdout, output.status) == ("1000\n", 0)


@pytest.mark.parametrize("name", ["hosts", "hostname", "resolv.conf"])
@pytest.mark.parametrize("target", ["nowhere/file", "/etc/passwd", "/dev/null", "loop", None])
def test_names_are_shown_over_whatever_the_image_has(
    tree: Path, tmp_path: Path, name: str, target: str | None
) -> None:
    path = tree / "etc" / name
    if target == "loop":
        path.symlink_to(name)
    elif target is None:
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    before = (tree / "etc/passwd").read_text()
    config = GuestConfig(arguments=("cat", "/etc/hosts", "/etc/hostname"), hostname="some-host")
    output = run_in_container(tree, config, tmp_path / "init")
    assert (
        output.stdout == "127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.1.1\tsome-host\nsome-host\n"
    )
    assert (tree / "etc/passwd").read_text() == before


def test_hostname_of_the_image_is_kept(tree: Path, tmp_path: Path) -> None:
    (tree / "etc/hostname").write_text("of-the-image\nsecond line\n")
    output = run_in_container(tree, GuestConfig(arguments=("hostname",)), tmp_path / "init")
    assert output.stdout == "of-the-image\n"


@pytest.mark.parametrize(
    ("directory", "status"),
    [
        ("/bin/busybox", 126),
        ("/bin/busybox/below", 126),
        ("relative", 126),
        ("/proc/new", 126),
        ("/" + "long/" * 900, 126),
        ("/loop", 126),
        ("/dangling", 126),
    ],
)
def test_unusable_working_directory_fails_the_start(
    tree: Path, tmp_path: Path, directory: str, status: int
) -> None:
    (tree / "loop").symlink_to("loop")
    (tree / "dangling").symlink_to("nowhere")
    config = GuestConfig(arguments=("true",), directory=directory)
    output = run_in_container(tree, config, tmp_path / "init")
    assert (output.status, "working directory" in output.failure) == (status, True)


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"not a program", 126), (b"\x7fELF" + bytes(200), 126), (b"#!/nowhere\n", 127)],
)
def test_file_that_is_not_a_program_has_its_own_status(
    tree: Path, tmp_path: Path, content: bytes, status: int
) -> None:
    (tree / "program").write_bytes(content)
    (tree / "program").chmod(0o755)
    output = run_in_container(tree, GuestConfig(arguments=("/program",)), tmp_path / "init")
    assert (output.status, '"/program"' in output.failure) == (status, True)


def test_damaged_configuration_fails_the_start(tree: Path, tmp_path: Path) -> None:
    output = run_in_container(tree, b"VLCONF1\n\1", tmp_path / "init")
    assert (output.status, output.failure) == (125, "The configuration is damaged.")


def test_signal_that_ends_the_entrypoint_is_its_status(tree: Path, tmp_path: Path) -> None:
    config = GuestConfig(arguments=("sh", "-c", "kill -KILL $$"))
    assert run_in_container(tree, config, tmp_path / "init").status == 128 + 9


def test_processes_that_outlive_the_entrypoint_are_killed(tree: Path, tmp_path: Path) -> None:
    script = "trap '' TERM HUP INT; (setsid sh -c 'while true; do echo alive; done' &) ; sleep 0.2"
    config = GuestConfig(arguments=("sh", "-c", script))
    output = run_in_container(tree, config, tmp_path / "init")
    assert (output.status, "alive\n" in output.stdout) == (0, True)


def test_output_is_complete_and_before_the_status(tree: Path, tmp_path: Path) -> None:
    script = "seq 1 300000; seq 1 300000 >&2; exit 4"
    config = GuestConfig(arguments=("sh", "-c", script))
    output = run_in_container(tree, config, tmp_path / "init")
    numbers = "".join(f"{number}\n" for number in range(1, 300_001))
    assert output.stdout == output.of(RecordKind.STDERR).decode() == numbers
    assert (output.records[-1].kind, output.status) == (RecordKind.EXIT, 4)


def test_image_without_etc_starts(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    shutil.copy("/bin/busybox", scratch)
    config = GuestConfig(arguments=("/busybox", "cat", "/etc/hostname"), hostname="some-host")
    output = run_in_container(scratch, config, tmp_path / "init")
    assert (output.stdout, output.status) == ("some-host\n", 0)
