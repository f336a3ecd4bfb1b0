# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests of one module at a time."""
