# SPDX-License-Identifier: LGPL-2.1-or-later
"""Use cases about machines: create, start, stop, remove, list and describe them."""
