# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is in the directory of a pool, apart from the directory that is virtlayer's own."""

from pathlib import Path

OWN = ".virtlayer"
"""The directory with the lock, the claims and the records of a pool."""


def paths_in(pool: Path) -> list[Path]:
    """Everything in a pool's directory but ``.virtlayer``, sorted."""
    return sorted(path for path in pool.iterdir() if path.name != OWN)


def names_in(pool: Path) -> list[str]:
    """The names of ``paths_in``."""
    return [path.name for path in paths_in(pool)]
