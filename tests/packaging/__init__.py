# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests of the packaging files that do not need to build a package."""
