# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Debian packages of the first edition, version 0.1.0: built from its commit, and kept."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.cache import kept

_CHECKOUT = Path(__file__).parent.parent.parent
COMMIT = "eb7bd4f"


def first_edition() -> list[Path]:
    """The packages virtlayerd and virtlayer; the first call builds them."""
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{COMMIT}^{{commit}}"], cwd=_CHECKOUT, check=False
    )
    # A shallow clone cannot build it. The gate's clone has the history.
    if known.returncode != 0:
        pytest.skip(f"this clone has no history: it lacks {COMMIT}, the first edition")
    directory = kept(f"packages-{COMMIT}", _make)
    return sorted(path for path in directory.glob("*.deb") if "dbgsym" not in path.name)


def _make(directory: Path) -> Path:
    tree = directory / "build" / "virtlayer"
    tree.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", COMMIT], cwd=_CHECKOUT, check=True, stdout=subprocess.PIPE
    ).stdout
    subprocess.run(["tar", "--extract", f"--directory={tree}"], input=archive, check=True)
    shutil.copytree(tree / "packaging" / "debian", tree / "debian")
    subprocess.run(
        ["dpkg-buildpackage", "--no-sign", "--build=binary"],
        cwd=tree,
        # The distribution's Python, even if another one is first in PATH.
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    made = directory / "packages"
    made.mkdir()
    for package in tree.parent.glob("*.deb"):
        shutil.copy(package, made)
    return made
