# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the records of a pool are, in messages about one that cannot be used."""

from virtlayer.protocol.pools import Pool


def record_place(pool: Pool, file: str) -> str:
    """Return the place of a record, for the beginning of a sentence.

    Args:
        pool: The pool.
        file: The name of the record's file; in an RBD pool, of its key in the pool's table.
    """
    if pool.is_rbd:
        return f"The record {file} of the Ceph pool {pool.path}"
    return f"{pool.path}/.virtlayer/{file}"


def record_repair(pool: Pool, file: str) -> str:
    """Return how an invalid record is removed: a sentence."""
    if pool.is_rbd:
        table = f"rados -p {pool.path} -N virtlayer rmomapkey pool"
        return f"Remove it: \"{table} 'record {file}'\"."
    return "Repair or remove the file."
