# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keeps the catalog and the records of the pools the same, in both directions."""
