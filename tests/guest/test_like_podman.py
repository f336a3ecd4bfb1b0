# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the init of machines starts, and how, compared with podman for the same image."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guest import busybox_tree
from tests.support.guest_container import run_in_container
from tests.support.podman import Podman
from virtlayer.protocol.guest_config import GuestConfig

pytestmark = pytest.mark.root

# No variables but those that the image or a user can name: not that of the container's engine.
_REPORT = """
printf '%s|' "$@"
echo "HOME=$HOME" "TERM=$TERM" "PATH=$PATH" "GIVEN=$GIVEN" "HOSTNAME=$HOSTNAME" "$(hostname)"
busybox grep -E '^(Uid|Gid|Groups):' /proc/self/status
id -u; id -g; id -G
pwd
stat -c '%n %a %u %g' .
umask
busybox readlink /proc/self/fd/0
"""
_HOSTNAME = "some-host"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = busybox_tree(tmp_path_factory.mktemp("image"))
    programs = tree / "opt"
    programs.mkdir()
    (programs / "no-program").write_text("text")
    (programs / "directory").mkdir()
    (programs / "echo").write_text("not executable, and not the echo that is in /bin")
    (programs / "only-root").write_text("#!/bin/sh\necho ran\n")
    (programs / "only-root").chmod(0o700)
    (programs / "link").symlink_to("nowhere")
    (tree / "private").mkdir(mode=0o700)
    return tree


@pytest.fixture(scope="module")
def podman(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    podman = Podman(tmp_path_factory.mktemp("podman"))
    podman.import_tree(tree, "image")
    yield podman
    shutil.rmtree(podman.directory)


@pytest.mark.parametrize(
    "config",
    [
        GuestConfig(arguments=("one", "", "two words", "$x\n", "'\"\\")),
        GuestConfig(arguments=(), environment=("GIVEN=a=b c", "HOME=/elsewhere")),
        GuestConfig(arguments=(), environment=("GIVEN=", "HOME=")),
        GuestConfig(arguments=(), environment=("PATH=/nowhere:/bin", "TERM=dumb")),
        GuestConfig(arguments=(), environment=("HOSTNAME=other",)),
        *(
            GuestConfig(arguments=(), user=user, directory="/tmp")  # noqa: S108 -- of the guest
            for user in ("root", "0", "app", "1000", "app:", "app:44", "app:wheel", "77", "77:44")
        ),
        GuestConfig(arguments=(), user="app", directory="/home/app"),
        GuestConfig(arguments=(), user="app", directory="/private"),
    ],
    ids=str,
)
def test_entrypoint_is_started_as_by_podman(
    podman: Podman, tree: Path, config: GuestConfig, tmp_path: Path
) -> None:
    command = ("/bin/sh", "-c", f"{_REPORT}exit 7", "sh", *config.arguments)
    ours = run_in_container(tree, _changed(config, command), tmp_path / "init")
    theirs = podman.run(*_options(config), "image", *command)
    assert ours.stdout == theirs.stdout
    assert ours.status == theirs.returncode == 7


def _options(config: GuestConfig) -> list[str]:
    return [
        f"--hostname={_HOSTNAME}",
        *(f"--env={variable}" for variable in config.environment),
        *([f"--user={config.user}"] if config.user else []),
        f"--workdir={config.directory}",
    ]


def _changed(config: GuestConfig, command: tuple[str, ...]) -> GuestConfig:
    return GuestConfig(
        arguments=command,
        environment=config.environment,
        user=config.user,
        directory=config.directory,
        hostname=_HOSTNAME,
    )


@pytest.mark.parametrize(
    ("command", "path", "user", "directory"),
    [
        (("nosuch",), None, "", "/"),
        (("/nosuch",), None, "", "/"),
        (("/bin/sh/x",), None, "", "/"),
        (("/opt/no-program",), None, "", "/"),
        (("/opt/directory",), None, "", "/"),
        (("/opt/link",), None, "", "/"),
        (("no-program",), "/opt", "", "/"),
        (("directory",), "/opt", "", "/"),
        (("link",), "/opt", "", "/"),
        (("echo", "found"), "/opt:/bin", "", "/"),
        (("echo", "found"), ":/bin", "", "/opt"),
        (("echo", "found"), "", "", "/bin"),
        (("echo", "found"), "", "", "/opt"),
        (("echo", "found"), ":/nowhere", "", "/bin"),
        (("echo", "found"), "/nowhere:", "", "/bin"),
        (("echo", "found"), "/nowhere::/nosuch", "", "/bin"),
        (("bin/echo", "relative"), None, "", "/"),
        (("./echo", "relative"), None, "", "/bin"),
        (("../bin/echo", "relative"), None, "", "/opt"),
        (("/opt/only-root",), None, "", "/"),
        (("true",), None, "nosuch", "/"),
        (("true",), None, "app:nosuch", "/"),
        (("true",), None, "-1", "/"),
        (("true",), None, "2147483648", "/"),
    ],
    ids=str,
)
def test_command_that_podman_does_not_run_has_the_same_status(
    podman: Podman,
    tree: Path,
    command: tuple[str, ...],
    path: str | None,
    user: str,
    directory: str,
    tmp_path: Path,
) -> None:
    config = GuestConfig(
        arguments=command,
        environment=() if path is None else (f"PATH={path}",),
        user=user,
        directory=directory,
    )
    ours = run_in_container(tree, config, tmp_path / "init")
    theirs = podman.run(*_options(config), "image", *command)
    assert (ours.status, ours.stdout) == (theirs.returncode, theirs.stdout)
    assert bool(ours.failure) == (ours.status != 0)


def test_working_directory_of_the_image_is_created_as_by_podman(
    podman: Podman, tree: Path, tmp_path: Path
) -> None:
    podman.import_tree(tree, "workdir", ["WORKDIR /made/by/init", "USER app"])
    command = ("sh", "-c", "pwd; stat -c '%a %u %g' /made /made/by /made/by/init")
    config = GuestConfig(arguments=command, user="app", directory="/made/by/init")
    ours = run_in_container(tree, config, tmp_path / "init")
    theirs = podman.run("workdir", *command)
    assert (ours.stdout, ours.status) == (theirs.stdout, theirs.returncode)


@pytest.mark.parametrize("user", ["", "0", "5", "5:6", "root"])
def test_image_with_one_program_is_started_as_by_podman(
    podman: Podman, user: str, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    shutil.copy("/bin/busybox", scratch)
    podman.import_tree(scratch, "scratch")
    command = ("/busybox", "sh", "-c", 'echo "$HOME $PATH"; /busybox id; pwd; exit 3')
    ours = run_in_container(scratch, GuestConfig(arguments=command, user=user), tmp_path / "init")
    theirs = podman.run(*([f"--user={user}"] if user else []), "scratch", *command)
    assert (ours.stdout.replace("(0)", ""), ours.status) == (
        theirs.stdout.replace("(root)", "").replace("(0)", ""),
        theirs.returncode,
    )
