# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines, from an image to a running domain."""
