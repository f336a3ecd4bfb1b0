# SPDX-License-Identifier: LGPL-2.1-or-later
"""Applies layers to a directory of the host, in a process that can access nothing else."""
