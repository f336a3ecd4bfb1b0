# SPDX-License-Identifier: LGPL-2.1-or-later
"""Client keys in certs.d that the service may not read are named."""

import asyncio
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ordinary_user import as_user
from tests.support.privileges import as_root

NOBODY = pwd.getpwnam("nobody").pw_uid
# In a mount namespace of its own, so that the machine's files stay as they are.
_IN_NAMESPACE = """
mount -t tmpfs -o mode=755 tmpfs "$1" && mkdir -p "$1/certs.d/registry.test:5000" &&
cd "$1/certs.d/registry.test:5000" && touch ca.crt client.cert client.key notes.txt &&
eval "$2" && cd / && shift 2 && exec "$@"
"""
CHECK = """
import sys
from virtlayer.errors import VirtlayerError
from virtlayer.service.source.host_certificates import check_host_certificates
try:
    check_host_certificates("registry.test:5000")
    check_host_certificates("another.test")
except VirtlayerError as error:
    print(error)
"""


def refusal(place: Path, prepare: str) -> str:
    """The result for the service's user with files prepared by shell commands."""
    check = as_user(NOBODY, sys.executable, "-c", CHECK)
    command = as_root("unshare", "--mount", "sh", "-c", _IN_NAMESPACE, "sh", place, prepare)
    done = subprocess.run([*command, *check], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.parametrize(
    ("prepare", "named"),
    [
        ("chmod 600 client.key", "client.key"),
        ("chmod 600 ca.crt", "ca.crt"),
        ("chmod 700 .", "registry.test:5000"),
    ],
)
async def test_unreadable_file_is_named(prepare: str, named: str) -> None:
    told = await asyncio.to_thread(refusal, Path("/etc/containers"), prepare)
    assert f"certs.d/registry.test:5000{'' if named.startswith('reg') else '/' + named}" in told
    assert "Permission denied" in told
    assert "chgrp" in told


@pytest.mark.parametrize("prepare", ["true", "chmod 600 notes.txt"])
async def test_readable_files_are_accepted(prepare: str) -> None:
    assert await asyncio.to_thread(refusal, Path("/etc/containers"), prepare) == ""
