# SPDX-License-Identifier: LGPL-2.1-or-later
"""What prevents `make dev` on a machine is said in one line, before anything is changed.

The scripts run in a mount namespace in which apt knows only a repository of the test, and apt and
dpkg write to temporary file systems.
"""

import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bus.polkit import open_directory
from tests.packaging.conftest import CHECKOUT

pytestmark = pytest.mark.root

UNREACHABLE = "http://127.0.0.1:1"
APT_CONF = """\
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "{directory}/sources.list";
Dir::Etc::sourceparts "/dev/null";
"""
PREPARE = """\
set -e
for directory in /var/lib/apt /var/lib/dpkg /var/cache/apt /var/log /opt; do
    mount -t tmpfs -o mode=755 tmpfs $directory
done
mkdir /var/lib/dpkg/info /var/lib/dpkg/updates /var/cache/apt/archives
touch /var/lib/dpkg/status
"""
UBUNTU = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n'
BOOKWORM = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
SID = 'ID=debian\nPRETTY_NAME="Debian GNU/Linux forky/sid"\n'
INSTALL = "packaging/install-debian-packages list"
MAKE_VENV = "packaging/make-venv"
DROP = "setpriv --reuid=nobody --regid=nogroup --clear-groups"


class Machine:
    """The scripts on a machine that has no packages; `tool` is in the list and in a repository."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "packaging").mkdir()
        for name in (INSTALL.split()[0], MAKE_VENV, "pyproject.toml"):
            shutil.copy(CHECKOUT / name, directory / name)
        (directory / "apt.conf").write_text(APT_CONF.format(directory=directory))
        (directory / "repository").mkdir()
        self.use_repository(f"copy:{directory}/repository")
        self.add_package("tool")
        self.list_packages("tool")

    def use_repository(self, address: str) -> None:
        (self.directory / "sources.list").write_text(f"deb [trusted=yes] {address} ./\n")

    def list_packages(self, *names: str) -> None:
        (self.directory / "list").write_text("".join(f"{name}\n" for name in ("# A list", *names)))

    def add_package(self, name: str, *fields: str, content: bytes = b"") -> None:
        """Build a package with one file, in /opt."""
        tree = self.directory / "tree"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "opt").mkdir()
        (tree / "opt" / name).write_bytes(content)
        control = "\n".join(
            (
                *(f"Package: {name}", "Version: 1", "Architecture: all"),
                *("Maintainer: Nobody <nobody@localhost>", "Description: of a test", *fields, ""),
            )
        )
        (tree / "DEBIAN" / "control").write_text(control)
        archive = self.directory / "repository" / f"{name}.deb"
        subprocess.run(["dpkg-deb", "-Znone", "--build", tree, archive], check=True)
        shutil.rmtree(tree)
        built = archive.read_bytes()
        with (self.directory / "repository" / "Packages").open("a") as index:
            index.write(
                f"{control}Filename: ./{name}.deb\nSize: {len(built)}\n"
                f"SHA256: {hashlib.sha256(built).hexdigest()}\n\n"
            )

    def run(self, commands: str, **environment: str) -> tuple[int, list[str], list[str]]:
        """Run commands on it; return the exit status and the lines of output and errors."""
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", PREPARE + commands],
            cwd=self.directory,
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "APT_CONFIG": str(self.directory / "apt.conf"),
                "PIP_CONFIG_FILE": "/dev/null",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    def refusal(self, commands: str, **environment: str) -> str:
        """Run commands that must fail and install nothing; return the only line of errors."""
        status, _, errors = self.run(
            f"({commands}) || {{ test ! -s /var/lib/dpkg/status && exit 3; }}", **environment
        )
        assert status == 3, "it did not fail, or installed something"
        [line] = errors
        return line

    def claim(self, system: str) -> str:
        """The commands after which the machine has this os-release."""
        (self.directory / "os-release").write_text(system)
        return f"mount --bind {shlex.quote(str(self.directory))}/os-release /etc/os-release; "


@pytest.fixture
def machine() -> Iterator[Machine]:
    with open_directory() as directory:
        yield Machine(directory)


def test_missing_package_is_installed_once_and_in_two_lines(machine: Machine) -> None:
    status, output, errors = machine.run(f"{INSTALL}; test -e /opt/tool; echo again; {INSTALL}")
    assert (status, errors) == (0, [])
    assert output[0] == "Fetching the package lists of Debian"
    assert output[1].startswith("Installing 1 package from Debian (")
    assert output[2:] == ["again"]


@pytest.mark.parametrize(
    ("system", "name"), [(UBUNTU, "Ubuntu 24.04.1 LTS"), (BOOKWORM, "Linux 12 (bookworm)")]
)
def test_unsupported_system_is_named_with_what_to_do(
    machine: Machine, system: str, name: str
) -> None:
    line = machine.refusal(machine.claim(system) + INSTALL)
    assert name in line
    assert "Debian 13 or later" in line
    assert "packaging/container/Containerfile" in line


def test_unsupported_system_that_lacks_nothing_is_accepted(machine: Machine) -> None:
    status, _, errors = machine.run(f"{INSTALL}; {machine.claim(UBUNTU)} {INSTALL}")
    assert (status, errors) == (0, [])


def test_unstable_debian_is_accepted(machine: Machine) -> None:
    status, _, errors = machine.run(f"{machine.claim(SID)} {INSTALL}")
    assert (status, errors) == (0, [])


def test_user_without_sudo_is_told_what_root_must_run(machine: Machine) -> None:
    line = machine.refusal(
        f"mkdir bin; ln -s /usr/bin/* bin; rm -f bin/sudo; export PATH=$PWD/bin; {DROP} {INSTALL}"
    )
    assert "there is no sudo" in line
    assert line.endswith("apt-get install --no-install-recommends tool")


def test_sudo_that_wants_a_password_without_a_terminal_is_named(machine: Machine) -> None:
    # The rules of the sudo of this machine, if it has one, are unknown.
    sudo = machine.directory / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    sudo.chmod(0o755)
    line = machine.refusal(f"export PATH=$PWD/bin:$PATH; {DROP} {INSTALL}")
    assert "(sudo: a password is required)" in line
    assert line.endswith("apt-get install --no-install-recommends tool")


def test_unreachable_package_lists_are_reported_with_the_reason_of_apt(machine: Machine) -> None:
    machine.use_repository(UNREACHABLE)
    line = machine.refusal(INSTALL)
    assert line.startswith(
        "Cannot fetch the package lists of Debian (Could not connect to 127.0.0.1:1"
    )


def test_package_that_cannot_be_downloaded_is_reported(machine: Machine) -> None:
    (machine.directory / "repository" / "tool.deb").unlink()
    line = machine.refusal(INSTALL)
    assert line.startswith("Cannot download packages of Debian (")
    assert "Nothing was installed." in line


def test_package_that_a_fresh_list_has_in_an_old_version_is_installed(machine: Machine) -> None:
    machine.add_package("other")
    shutil.copytree(machine.directory / "repository", machine.directory / "newer")
    index = (machine.directory / "repository" / "Packages").read_text()
    (machine.directory / "repository" / "other.deb").unlink()
    (machine.directory / "repository" / "Packages").write_text(
        index.replace("other.deb", "gone.deb")
    )
    machine.list_packages("other")
    status, output, errors = machine.run(
        "apt-get update >apt; mv repository older; mv newer repository; " + INSTALL
    )
    assert (status, errors) == (0, [])
    assert [line.split()[0] for line in output] == ["Installing", "Fetching", "Installing"]


def test_unknown_packages_are_named(machine: Machine) -> None:
    machine.list_packages("tool", "unknown-tool", "unknown-other")
    line = machine.refusal(INSTALL)
    assert "do not have: unknown-other unknown-tool." in line


def test_lack_of_space_for_files_is_reported_with_both_numbers(machine: Machine) -> None:
    machine.add_package("huge", "Installed-Size: 90000000000")
    machine.list_packages("huge")
    line = machine.refusal(INSTALL)
    assert line.startswith("Not enough disk space: the packages and .venv need 93 TB in ")
    assert "B is free." in line


def test_lack_of_space_for_archives_is_reported_with_both_numbers(machine: Machine) -> None:
    machine.add_package("big", content=bytes(200_000))
    machine.list_packages("big")
    line = machine.refusal(f"mount -t tmpfs -o size=64k tmpfs /var/cache/apt/archives; {INSTALL}")
    assert "need 21" in line
    assert "kB in /var/cache/apt/archives, and 66 kB is free." in line


def test_disk_that_fills_up_is_reported_with_what_was_installed(machine: Machine) -> None:
    machine.add_package("big", "Pre-Depends: tool", content=bytes(2_000_000))
    machine.list_packages("big", "tool")
    status, _, errors = machine.run(f"mount -t tmpfs -o size=1m tmpfs /opt; {INSTALL}")
    assert status == 1
    [line] = errors
    assert line.startswith("The disk was full (")
    assert "Installed until then: tool." in line


def test_unreachable_package_index_is_reported(machine: Machine) -> None:
    # An environment with pip, and quickly.
    pip = Path(sys.prefix).glob("lib/python3*/site-packages/pip")
    line = machine.refusal(
        "/usr/bin/python3 -m venv --without-pip .venv; "
        f"ln -s {shlex.join(map(str, pip))} .venv/lib/python3*/site-packages; {MAKE_VENV}",
        PIP_INDEX_URL=f"{UNREACHABLE}/simple",
    )
    assert line.startswith(
        f"Cannot reach {UNREACHABLE}/simple ([Errno 111] Connection refused). Check the network"
    )


def test_unknown_extra_is_reported(machine: Machine) -> None:
    assert machine.refusal(f"{MAKE_VENV} tests") == "pyproject.toml has no extra tests; it has: dev"


SMALL = (
    "mkdir small; mount -t tmpfs -o size=48k tmpfs small; cp -r packaging pyproject.toml small; "
)


def test_lack_of_space_for_the_environment_is_reported_with_both_numbers(machine: Machine) -> None:
    line = machine.refusal(f"{SMALL} small/{MAKE_VENV} dev")
    assert line.startswith("Not enough disk space: .venv needs 400 MB in ")
    assert line.endswith("B is free.")


def test_disk_that_fills_up_with_the_environment_is_reported(machine: Machine) -> None:
    # A sparse file makes the environment look as if nothing large was missing in it.
    line = machine.refusal(
        f"{SMALL} mkdir small/.venv; truncate --size=1G small/.venv/sparse; small/{MAKE_VENV}"
    )
    assert line.startswith("The disk is full: ")
