# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers as a chain of qcow2 volumes: names, plan and build."""
