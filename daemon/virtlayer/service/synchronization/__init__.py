# SPDX-License-Identifier: LGPL-2.1-or-later
"""Synchronizes the catalog and the records of the pools, in both directions."""
