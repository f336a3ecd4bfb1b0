# SPDX-License-Identifier: LGPL-2.1-or-later
"""The units, as systemd itself judges them."""

import re

import pytest

from tests.acceptance.system import System

_PACKAGES = ("virtlayer", "virtlayerd", "virtlayer-rbd")
# What is left is what they are for. The service and the process of an RBD pool are on the network
# (0.8 for it and for addresses).
# The keeper is root (0.4), writes into directories that are others' (0.2), starts programs as users
# without rights, gives them files, and ends them (0.8), makes directories of images, with setuid
# programs and by a chroot (0.5), and reads disks of machines in homes and in /tmp (0.3). Users of
# their own (PrivateUsers=) would hide who owns callers' files. The system's usual services are
# between 5 and 9.
_EXPOSURE_LIMITS = {
    "virtlayerd.service": 1.3,
    "virtlayer-keeper.service": 2.5,
    "virtlayer-rbd@some.service": 1.2,
}


def test_systemd_finds_no_fault(system: System) -> None:
    listed = f"dpkg -L {' '.join(_PACKAGES)}"
    files = system.run("sh", "-c", f"{listed} | grep -E '/systemd/.*\\.(service|socket|timer)$'")
    for path in files.split():
        user, scope = ("alice", "--user") if "/user/" in path else ("root", "--system")
        ended = system.attempt_as(user, "systemd-analyze", "verify", "--man=no", scope, path)
        assert (ended.status, ended.stderr) == (0, ""), path


@pytest.mark.parametrize("unit", _EXPOSURE_LIMITS)
def test_the_exposure_is_low(system: System, unit: str) -> None:
    report = system.run("systemd-analyze", "security", "--no-pager", unit)
    exposure = re.search(rf"Overall exposure level for {unit}: ([0-9.]+)", report)
    assert exposure, report
    assert float(exposure[1]) <= _EXPOSURE_LIMITS[unit], report


@pytest.mark.parametrize("unit", _EXPOSURE_LIMITS)
def test_resources_are_limited(system: System, unit: str) -> None:
    for limit in ("MemoryMax", "TasksMax", "LimitNOFILE"):
        assert system.unit(unit, limit).isdecimal(), limit
    assert system.unit(unit, "OOMPolicy") == "continue"


@pytest.mark.parametrize(
    "page",
    [
        "virtlayer(1)",
        "virtlayerd(8)",
        "virtlayer-keeper(8)",
        "virtlayer-rbd(8)",
        "virtlayerd.toml(5)",
        "virtlayer-images(5)",
        "org.virtlayer1(5)",
    ],
)
def test_the_manual_is_there(system: System, page: str) -> None:
    name, section = page.removesuffix(")").split("(")
    # dpkg of a minimal system may leave manuals out when it unpacks; the package has them.
    listed = system.run("dpkg", "-L", *_PACKAGES)
    assert f"/usr/share/man/man{section}/{name}.{section}.gz" in listed.split()
