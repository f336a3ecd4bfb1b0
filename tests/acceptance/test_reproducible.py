# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tarball and the packages: built again in another directory, they have the same bytes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.soak import in_soak

_CHECKOUT = Path(__file__).parent.parent.parent
_DIST = Path("cockpit") / "dist"


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which everything was built with other settings of a user, at another time."""
    clone = tmp_path_factory.mktemp("again") / "clone"
    subprocess.run(["git", "clone", "--quiet", "--shared", _CHECKOUT, clone], check=True)
    # Not with its times: those are of now.
    shutil.copytree(_CHECKOUT / _DIST, clone / _DIST, copy_function=shutil.copyfile)
    environment = {"PATH": os.environ["PATH"], "HOME": str(clone.parent), "TZ": "Asia/Tokyo"}
    for script in ("build-srpm", "build-deb"):
        done = subprocess.run(
            [clone / "packaging" / script],
            env=environment,
            umask=0o077,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return clone


@in_soak
@pytest.mark.parametrize(
    ("pattern", "count"), [("rpm/*.tar.gz", 1), ("rpm/*.rpm", 1), ("deb/*.deb", 5)]
)
def test_the_bytes_are_the_same(again: Path, pattern: str, count: int) -> None:
    built = sorted((_CHECKOUT / "build").glob(pattern))
    assert len(built) == count
    for path in built:
        other = again / path.relative_to(_CHECKOUT)
        same = subprocess.run(["cmp", path, other], capture_output=True, text=True, check=False)
        assert same.returncode == 0, same.stdout + same.stderr
