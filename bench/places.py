# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the benchmark keeps things: all below one directory, so all on one file system."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache" / "bench"
REGISTRY = CACHE / "registry"
PACKAGES = CACHE / "packages"
RECORDS = CACHE / "images"
TREES = CACHE / "trees"
RESULT = CACHE / "result.json"
DOCUMENTATION = REPOSITORY / "docs"


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """An empty directory on the benchmark's file system, removed afterwards."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=CACHE) as directory:
        yield Path(directory)
