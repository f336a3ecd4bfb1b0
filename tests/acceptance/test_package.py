# SPDX-License-Identifier: LGPL-2.1-or-later
"""The packages: upgraded, removed, purged, installed again. Volumes are the administrator's."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import PASSWORD, USER, define_pool, install, trust
from tests.acceptance.pools import left_by_jobs
from tests.acceptance.system import System, booted
from tests.support.images import file, image, layer
from tests.support.registry import Registry

POOL = "/var/lib/libvirt/images"
PACKAGES = ("cockpit-virtlayer", "virtlayer", "virtlayer-rbd", "virtlayerd")
UNITS = ("virtlayerd.service", "virtlayer-keeper.service")
# What changes on a running system anyway, and what apt and dpkg remember of every package.
_EVERYBODYS = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/shared", "/var/log", "/var/lib/systemd"),  # noqa: S108
    *("/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt", "/var/cache/ldconfig", "/var/lib/libvirt"),
    *("/var/cache/libvirt", "/var/cache/debconf", "/var/tmp"),  # noqa: S108
)


@pytest.fixture
def fresh(root: Path, shared: Path, registry: Registry) -> Iterator[System]:
    """A system without virtlayer."""
    with booted(root, shared) as running, running.forward(registry.port):
        define_pool(running)
        trust(running, registry)
        yield running


def files(system: System) -> set[str]:
    pruned = " -o ".join(f"-path {path}" for path in _EVERYBODYS)
    return set(system.run("sh", "-c", f"find / \\( {pruned} \\) -prune -o -print").splitlines())


def apt(system: System, *arguments: str) -> None:
    system.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", *arguments)


def pull(system: System, source: str) -> dict[str, object]:
    options = ("--username", USER, "--password-stdin", "--json")
    result = json.loads(system.run("virtlayer", "pull", source, *options, stdin=PASSWORD))
    assert isinstance(result, dict)
    return result


def test_upgrade_purge_and_reinstall(fresh: System, registry: Registry) -> None:
    source = registry.store(image([layer(file("a", b"a")), layer(file("b", b"b"))]), "package:1")
    # The libraries that it needs are no part of the question what it leaves behind.
    install(fresh)
    apt(fresh, "purge", *PACKAGES)
    accounts = [fresh.run("getent", kind) for kind in ("passwd", "group")]
    before = files(fresh)

    install(fresh)
    volumes = pull(fresh, source)["volumes"]
    assert isinstance(volumes, list)
    sums = fresh.run("sh", "-c", f"sha256sum {POOL}/*")
    assert len(sums.splitlines()) == len(volumes) == 2

    # An upgrade: the running processes end, and the next ones have the same state.
    assert all(fresh.unit(unit, "MainPID") != "0" for unit in UNITS)
    apt(fresh, "install", "--reinstall", "/shared/" + debs(fresh, "virtlayerd_"))
    assert all(fresh.unit(unit, "MainPID") == "0" for unit in UNITS)
    assert fresh.unit("virtlayer-keeper.socket", "ActiveState") == "inactive"
    assert "package:1" in fresh.run("virtlayer", "images")
    assert pull(fresh, source)["layers_reused"] == 2

    apt(fresh, "purge", *PACKAGES)
    assert fresh.run("sh", "-c", f"sha256sum {POOL}/*") == sums
    assert left_by_jobs(fresh, POOL) == []
    assert files(fresh) - before == set()
    assert [fresh.run("getent", kind) for kind in ("passwd", "group")] == accounts
    assert fresh.attempt("busctl", "status", "org.virtlayer1").status != 0
    assert fresh.run("find", "/run", "-name", "*virtlayer*", "-not", "-path", "/run/host/*") == ""

    # The catalog was deleted, but the pool has the records of its images.
    install(fresh)
    assert "package:1" in fresh.run("virtlayer", "images")
    assert pull(fresh, source)["layers_reused"] == 2
    assert fresh.run("sh", "-c", f"sha256sum {POOL}/*") == sums


def debs(system: System, prefix: str) -> str:
    [name] = [one for one in system.run("ls", "/shared").split() if one.startswith(prefix)]
    return name
