# SPDX-License-Identifier: LGPL-2.1-or-later
"""Content of the directory of a pool, except virtlayer's own directory."""

from pathlib import Path

OWN = ".virtlayer"
"""The directory with the lock, the claims and the records of a pool."""


def paths_in(pool: Path) -> list[Path]:
    """Everything in a pool's directory but ``.virtlayer``, sorted."""
    return sorted(path for path in pool.iterdir() if path.name != OWN)


def names_in(pool: Path) -> list[str]:
    """The names of ``paths_in``."""
    return [path.name for path in paths_in(pool)]


def left_by_jobs(pool: Path) -> list[Path]:
    """Files of running or killed jobs in a pool: claims, staging directories, new records."""
    own = pool / OWN
    parts = (own / "claims", own / "staging")
    left = [path for part in parts if part.is_dir() for path in part.iterdir()]
    return sorted([*left, *own.glob(".new-*")])


def unfinished_in(pool: Path) -> list[str]:
    """The names of what is in a pool's directory or in its staging directories."""
    return [*names_in(pool), *(path.name for path in (pool / OWN).glob("staging/*"))]
