# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deadlines for other processes that make no progress."""

QEMU_SECONDS = 120.0
"""For an answer of one of qemu's programs, which may itself wait for the disk of a pool."""
