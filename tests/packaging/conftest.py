# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of the packages, installed into a directory."""

import os
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that packaging/install-files installs."""
    directory = tmp_path_factory.mktemp("installed")
    # A Python that is first in PATH, and of no use.
    other = tmp_path_factory.mktemp("other") / "python3"
    other.symlink_to("/bin/false")
    subprocess.run(
        [CHECKOUT / "packaging" / "install-files", directory],
        env={"PATH": f"{other.parent}:{os.environ['PATH']}"},
        check=True,
    )
    return directory
