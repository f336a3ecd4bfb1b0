# SPDX-License-Identifier: LGPL-2.1-or-later
"""Replaces this program by another one, with the same terminal and exit status."""

import os
import sys
from typing import NoReturn

from virtlayer.errors import InvalidArgument


def replace_by(program: str, *arguments: str) -> NoReturn:
    """Execute another program in this process.

    Args:
        program: Its name, to be found in PATH.
        arguments: Its arguments.

    Raises:
        InvalidArgument: It is not installed.
    """
    sys.stdout.flush()
    try:
        os.execvp(program, [program, *arguments])  # noqa: S606 -- its argv is a list, as everywhere
    except FileNotFoundError:
        raise InvalidArgument(
            f"{program} is not installed. Install the package that has it."
        ) from None
