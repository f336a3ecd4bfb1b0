# SPDX-License-Identifier: LGPL-2.1-or-later
"""The package virtlayer-rbd: an RBD pool of a real cluster, and what is said without the package.

The cluster runs on this machine, and the system reaches it through forwarded ports.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import PASSWORD, USER
from tests.acceptance.system import System, wait_until
from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.images import file, image, layer
from tests.support.process_table import name_of, process_table
from tests.support.processes import Status
from tests.support.registry import Registry

POOL = "ceph"
_SOCKET = "/run/virtlayer-rbd/socket"
_ACCESS = ("--username", USER, "--password-stdin", "--json")
_UNITS = ("systemctl", "list-units", "--no-legend", "--plain", "virtlayer-rbd@*.service")


@pytest.fixture(scope="module")
def cluster(system: System) -> Iterator[OneNodeCeph]:
    """A cluster that the system reaches."""
    with OneNodeCeph() as ceph, contextlib.ExitStack() as forwarding:
        for port in ceph.ports:
            forwarding.enter_context(system.forward(port))
        yield ceph


@pytest.fixture(scope="module")
def pool(system: System, cluster: OneNodeCeph) -> Iterator[CephPool]:
    """A pool of the cluster, which the system's libvirt has."""
    pool, secret = cluster.pool(), str(uuid.uuid4())
    system.run("virsh", "secret-define", "/dev/stdin", stdin=pool.secret_xml(secret))
    system.run("virsh", "secret-set-value", secret, "--file", "/dev/stdin", stdin=pool.key)
    system.run("virsh", "pool-define", "/dev/stdin", stdin=pool.pool_xml(POOL, secret))
    system.run("virsh", "pool-start", POOL)
    yield pool
    system.run("virsh", "pool-destroy", POOL)
    system.run("virsh", "pool-undefine", POOL)


@pytest.fixture(scope="module")
def source(registry: Registry) -> str:
    """An image."""
    return registry.store(image([layer(file("a", b"a")), layer(file("b", b"b"))]), "rbd:1")


@pytest.fixture(autouse=True)
def disconnected(system: System) -> Iterator[None]:
    """End the processes after each test, and with them the connections that are forwarded."""
    yield
    stop_keeper(system)


def stop_keeper(system: System) -> None:
    """Stop the keeper, and wait for the end of what it has asked for."""
    system.run("systemctl", "stop", "virtlayerd.service", "virtlayer-keeper.service")
    wait_until("all processes of RBD pools have ended", lambda: processes(system) == [])


def processes(system: System) -> list[str]:
    """The units of the pools that are in use."""
    return [line.split()[0] for line in system.run(*_UNITS).splitlines()]


def test_only_root_may_connect(system: System) -> None:
    assert system.unit("virtlayer-rbd.socket", "ActiveState") == "active"
    found = system.run("stat", "--format=%a %U %G", _SOCKET).split()
    assert found == ["600", "root", "root"]


def test_pull_makes_images_of_the_cluster(
    system: System, cluster: OneNodeCeph, pool: CephPool, source: str
) -> None:
    result = json.loads(system.run("virtlayer", "pull", source, POOL, *_ACCESS, stdin=PASSWORD))

    assert cluster.images(pool.name) == sorted(result["volumes"])
    assert result["layers_built"] == 2


def test_process_has_the_rights_of_its_unit(system: System, pool: CephPool) -> None:
    del pool
    system.run("virtlayer", "volumes", POOL)
    [unit] = processes(system)
    pid = system.unit(unit, "MainPID")
    command = system.run("cat", f"/proc/{pid}/cmdline").split("\0")
    status = Status.parsed(system.run("cat", f"/proc/{pid}/status"))

    assert name_of(command) == "virtlayer-rbd"
    row = process_table()["virtlayer-rbd"]
    row.check_in_system(status, uid=system.uid("virtlayer-qemu"), keeper=frozenset())


def test_process_ends_with_the_keeper(system: System, pool: CephPool) -> None:
    del pool
    system.run("virtlayer", "volumes", POOL)
    assert len(processes(system)) == 1
    stop_keeper(system)
    assert system.unit("virtlayer-rbd.socket", "ActiveState") == "active"


def test_missing_package_is_named(system: System, pool: CephPool, source: str) -> None:
    del pool
    apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y")
    system.run("virtlayer", "volumes", POOL)
    system.run(*apt, "remove", "virtlayer-rbd")
    try:
        assert processes(system) == []
        ended = system.attempt("virtlayer", "pull", source, POOL, *_ACCESS, stdin=PASSWORD)
        assert '"error": "PoolUnsupported"' in ended.stderr
        assert "the package virtlayer-rbd" in ended.stderr
        # Other pools need no such process.
        system.run("virtlayer", "volumes", "default")
    finally:
        system.run("sh", "-c", f"{' '.join(apt)} install {system.shared_path}/virtlayer-rbd_*.deb")
    assert system.unit("virtlayer-rbd.socket", "ActiveState") == "active"
    system.run("virtlayer", "volumes", POOL)
