# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long one process waits for another one that makes no progress."""

QEMU_SECONDS = 120.0
"""For an answer of one of qemu's programs, which may itself wait for the disk of a pool."""
