# SPDX-License-Identifier: LGPL-2.1-or-later
"""The directories of pools on the system that booted."""

from tests.acceptance.system import System


def left_by_jobs(system: System, pool: str) -> list[str]:
    """Return what jobs left in a pool: claims, staging directories, and any hidden file.

    ``.virtlayer`` itself and the records in it belong to the pool.
    """
    own = f"{pool}/.virtlayer"
    hidden = ("-name", ".*", "-not", "-path", own)
    of_jobs = ("-o", "-path", f"{own}/claims/*", "-o", "-path", f"{own}/staging/*")
    return system.run("find", pool, "-mindepth", "1", *hidden, *of_jobs).splitlines()
