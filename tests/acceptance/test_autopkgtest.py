# SPDX-License-Identifier: LGPL-2.1-or-later
"""The test that Debian runs on the installed packages."""

from pathlib import Path

from tests.acceptance.system import System

_TESTS = Path(__file__).parent.parent.parent / "packaging" / "debian" / "tests"


def test_the_test_of_the_packages_passes(system: System) -> None:
    system.run("python3", "-", stdin=(_TESTS / "pull").read_text())
