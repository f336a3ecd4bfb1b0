# SPDX-License-Identifier: LGPL-2.1-or-later
"""One booted system with the packages installed, for all tests but those of the packages."""

import shutil
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.acceptance.system import System, booted
from tests.support.registry import Registry

_CHECKOUT = Path(__file__).parent.parent.parent
USER, PASSWORD = "puller", "correct-horse-7d1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the journal of a failed test's system has of it."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, System):
                journal = value.journal(f"--since=@{call.start:.6f}", "--lines=200")
                report.sections.append(("journal", journal))
    return report


@pytest.fixture(scope="session")
def packages() -> list[Path]:
    """The packages that `make deb` built."""
    found = [
        path for path in (_CHECKOUT / "build" / "deb").glob("*.deb") if "dbgsym" not in path.name
    ]
    assert len(found) == 4, "make deb builds the packages; make acceptance does both"
    return found


@pytest.fixture(scope="session")
def root(packages: list[Path]) -> Path:
    """The root directory of the system, made once and kept in .cache."""
    directory = _CHECKOUT / ".cache" / "acceptance" / "root"
    subprocess.run([Path(__file__).parent / "make-root", directory, *packages], check=True)
    return directory


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that requires TLS and a password."""
    directory = tmp_path_factory.mktemp("registry")
    with Registry(directory, tls=True, htpasswd=(USER, PASSWORD)) as running:
        yield running


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, packages: list[Path], registry: Registry
) -> Path:
    """Files that the systems can read: the packages, and the CA of the registry."""
    directory = tmp_path_factory.mktemp("shared")
    for path in packages:
        shutil.copy(path, directory)
    shutil.copytree(registry.cert_dir, directory / "certs")
    directory.chmod(0o755)
    return directory


@pytest.fixture(scope="session")
def system(root: Path, shared: Path, registry: Registry) -> Iterator[System]:
    """A system with virtlayer, the pool "default", and two users: only bob is in group libvirt."""
    with booted(root, shared) as running, running.forward(registry.port):
        install(running)
        running.run("useradd", "--create-home", "alice")
        running.run("useradd", "--create-home", "--groups=libvirt", "bob")
        # Without a session of hers, systemd --user and a bus for alice.
        running.run("loginctl", "enable-linger", "alice")
        define_pool(running)
        trust(running, registry)
        yield running


def install(system: System) -> None:
    """Install the packages with apt, as an administrator would."""
    system.run(
        "sh",
        "-c",
        f"DEBIAN_FRONTEND=noninteractive apt-get -qq -y install {system.shared_path}/*.deb",
    )


def define_pool(system: System) -> None:
    """Make libvirt's customary pool."""
    target = "--target=/var/lib/libvirt/images"
    system.run("virsh", "--quiet", "pool-define-as", "default", "dir", target)
    system.run("virsh", "--quiet", "pool-start", "default")


def trust(system: System, registry: Registry) -> None:
    """Make the registry's CA known to all users, see containers-certs.d(5)."""
    directory = f"/etc/containers/certs.d/{registry.host}"
    system.run("mkdir", "--parents", directory)
    system.run("cp", f"{system.shared_path}/certs/ca.crt", directory)
