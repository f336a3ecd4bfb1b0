# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keys of a pool's table, and values that name other keys.

==============================  ==================================================
``format``                      the version of the table
``process ID``                  a process with claims or the lock; ``processes``
``claim PROCESS CLAIM NUMBER``  volumes that a job counts on, one a line; ``claims``
``build KEY``                   PROCESS CLAIM: the claim that builds a layer
``placing FILE``                PROCESS CLAIM: the claim that places a volume with that record
``lock``                        PROCESS TOKEN: who has the pool's lock
``record FILE``                 the stamp of a record; ``records``
``content FILE``                the content of that record
``records``                     a stamp that each change of a record replaces
==============================  ==================================================

Processes and claims have random ids: 32 hexadecimal digits.
"""

import re
import secrets

FORMAT = "format"
LOCK = "lock"
RECORDS = "records"

PROCESSES = "process "
CLAIMS = "claim "
BUILDS = "build "
PLACINGS = "placing "
RECORD = "record "
CONTENT = "content "

_ID = re.compile(r"[0-9a-f]{32}")


def new_id() -> str:
    """A random id."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Whether a text is an id."""
    return _ID.fullmatch(text) is not None


def process_key(process: str) -> str:
    """The key of a process."""
    return PROCESSES + process


def claims_of(process: str) -> str:
    """How the keys of a process's claims begin."""
    return f"{CLAIMS}{process} "


def holder_of(value: bytes) -> str | None:
    """The id of the process in a value that says who has something; None if it is invalid."""
    process, _, _ = value.decode("ascii", "replace").partition(" ")
    return process if is_id(process) else None
