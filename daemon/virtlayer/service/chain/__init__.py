# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers as a chain of volumes, qcow2 files or RBD images: names, plan and build."""
