# SPDX-License-Identifier: LGPL-2.1-or-later
"""The units, as systemd itself judges them."""

import re

import pytest

from tests.acceptance.system import System

# What is left is what the daemon is for. It is root (0.4) on the network (1.1 for sockets and
# addresses), writes into directories that are others' (0.2), starts programs as a caller or as
# nobody, gives the former a directory, and ends them (0.8), and makes directories of images, with
# setuid programs and by a chroot (0.5). Users of its own (PrivateUsers=) would
# keep it from giving up its groups. The system's usual services are between 5 and 9.
_EXPOSURE_LIMIT = 2.9


def test_systemd_finds_no_fault(system: System) -> None:
    files = system.run(
        "sh", "-c", "dpkg -L virtlayer virtlayerd | grep -E '/systemd/.*\\.(service|timer)$'"
    )
    for path in files.split():
        user, scope = ("alice", "--user") if "/user/" in path else ("root", "--system")
        ended = system.attempt_as(user, "systemd-analyze", "verify", "--man=no", scope, path)
        assert (ended.status, ended.stderr) == (0, ""), path


def test_the_exposure_is_low(system: System) -> None:
    report = system.run("systemd-analyze", "security", "--no-pager", "virtlayerd.service")
    exposure = re.search(r"Overall exposure level for virtlayerd.service: ([0-9.]+)", report)
    assert exposure, report
    assert float(exposure[1]) <= _EXPOSURE_LIMIT, report


@pytest.mark.parametrize(
    "page",
    [
        "virtlayer(1)",
        "virtlayerd(8)",
        "virtlayerd.toml(5)",
        "virtlayer-images(5)",
        "org.virtlayer1(5)",
    ],
)
def test_the_manual_is_there(system: System, page: str) -> None:
    name, section = page.removesuffix(")").split("(")
    # dpkg of a minimal system may leave manuals out when it unpacks; the package has them.
    listed = system.run("dpkg", "-L", "virtlayer", "virtlayerd")
    assert f"/usr/share/man/man{section}/{name}.{section}.gz" in listed.split()
