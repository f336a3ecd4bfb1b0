# SPDX-License-Identifier: LGPL-2.1-or-later
"""The program ``virtlayer``: a command of the user, or the bridge for a command elsewhere."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    # Each is imported alone: a bridge is started by every command for another host.
    if "--bridge" in words and set(words) <= {"--bridge", "--user", "--system"}:
        from virtlayer.client.remote.bridge import serve

        return serve(session="--user" in words)
    from virtlayer.client.command_line import run_command_line

    return run_command_line(words)
