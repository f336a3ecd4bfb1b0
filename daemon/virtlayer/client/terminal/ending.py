# SPDX-License-Identifier: LGPL-2.1-or-later
"""How an attachment to a machine ended."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How it ended.

    Attributes:
        status: The exit status: the entrypoint's; 125 if there is none; 0 if the user has left;
            128 and the number of the signal that made the client leave.
        message: Why there is no status of the entrypoint, a sentence for the user; else "".
        is_detached: Whether the user has left, and the machine continues.
    """

    status: int
    message: str = ""
    is_detached: bool = False
