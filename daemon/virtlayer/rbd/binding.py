# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ceph's own Python modules, which have no types."""

import rados

import rbd

__all__ = ["rados", "rbd"]
