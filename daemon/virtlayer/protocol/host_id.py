# SPDX-License-Identifier: LGPL-2.1-or-later
"""An id of this host that does not disclose its machine id to the other hosts of a pool.

It is what sd_id128_get_machine_app_specific(3) gives for our application id.
"""

import hashlib
import hmac
from pathlib import Path

_MACHINE_ID = Path("/etc/machine-id")
_APPLICATION = bytes.fromhex("b3a1f2c64d0e4f5e9a7c1d28e6f0795b")


def host_id() -> str:
    """Return the id: 32 hexadecimal digits; the digits of an empty id if the host has none."""
    try:
        machine = bytes.fromhex(_MACHINE_ID.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        machine = b""
    digest = bytearray(hmac.digest(machine, _APPLICATION, hashlib.sha256)[:16])
    digest[6] = digest[6] & 0x0F | 0x40
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()
