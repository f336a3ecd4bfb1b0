# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands in docs/pools.md that set up an RBD pool, on a real cluster."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.documents import blocks
from tests.examples.place import REPOSITORY, debian, serve_as_docker_io
from tests.support.ceph import OneNodeCeph
from tests.support.libvirt_host import LibvirtHost
from tests.support.registry import Registry
from tests.support.virtlayerd import Daemon

_POOL = "images"
_HERE = f"run by {Path(__file__).relative_to(REPOSITORY)}"
_MONITORS = re.compile(r"(?:    <host name='ceph-[0-9]\.example'/>\n)+")


@pytest.fixture
def script(ceph: OneNodeCeph) -> str:
    """The commands, with the monitor of the test's cluster."""
    found = [one.commands for one in blocks(REPOSITORY / "docs/pools.md") if one.elsewhere == _HERE]
    text, replaced = _MONITORS.subn(
        f"    <host name='127.0.0.1' port='{ceph.port}'/>\n", "\n".join(found)
    )
    assert replaced == 1
    return text


@pytest.fixture
def environment(
    ceph: OneNodeCeph, host: LibvirtHost, daemon: Daemon, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Of an administrator of host and cluster, whose docker.io is a registry of the test."""
    with Registry(tmp_path / "registry") as registry:
        registry.store(debian(), "library/debian:13")
        serve_as_docker_io(daemon.directory, registry)
        yield daemon.environment | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CEPH_CONF": str(ceph.configuration),
            "LIBVIRT_DEFAULT_URI": host.uri,
        }


def test_commands_set_up_a_pool(
    ceph: OneNodeCeph, script: str, environment: dict[str, str], tmp_path: Path
) -> None:
    ended = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    images = ceph.images(_POOL)
    assert [name for name in images if not name.startswith("layer-")] == ["web"]
    assert len(images) > 1
    assert not (tmp_path / "images.key").exists()
