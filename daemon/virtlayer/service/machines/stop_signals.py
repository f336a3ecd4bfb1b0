# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parses the StopSignal of an OCI config, as podman does: ``SIGTERM``, ``15``, ``RTMIN+3``.

The numbers are those of x86, Arm, RISC-V and s390, where Linux has the same ones.
"""

import re
import signal

from virtlayer.errors import InvalidArgument

DEFAULT = 15
"""SIGTERM, for an image that names no signal."""
_FIRST_REAL_TIME, _LAST_REAL_TIME = 34, 64
"""glibc keeps 32 and 33 for itself."""
_REAL_TIME = re.compile(r"RT(?:MIN(?:\+([0-9]{1,2}))?|MAX(?:-([0-9]{1,2}))?)")
_NUMBER = re.compile(r"[0-9]{1,2}")
_OTHER_NAMES = {"CLD": "CHLD", "POLL": "IO"}


def parse_stop_signal(text: str) -> int:
    """Return the number of a signal.

    Args:
        text: Its name, with or without SIG, in any case, or its number; "" for SIGTERM.

    Raises:
        InvalidArgument: Linux has no such signal.
    """
    if not text:
        return DEFAULT
    number = int(text) if _NUMBER.fullmatch(text) else _named(text.upper().removeprefix("SIG"))
    if not 1 <= number <= _LAST_REAL_TIME:
        raise InvalidArgument(
            f'The configuration of the image has the StopSignal "{text[:80]}", which is not a '
            "signal of Linux. Build the image again with another one."
        )
    return number


def _named(name: str) -> int:
    """Return the number of a signal; 0 if there is no such signal."""
    if found := _REAL_TIME.fullmatch(name):
        if name.startswith("RTMIN"):
            number = _FIRST_REAL_TIME + int(found[1] or 0)
        else:
            number = _LAST_REAL_TIME - int(found[2] or 0)
        return number if _FIRST_REAL_TIME <= number <= _LAST_REAL_TIME else 0
    known = signal.Signals.__members__.get(f"SIG{_OTHER_NAMES.get(name, name)}")
    return 0 if known is None else int(known)
