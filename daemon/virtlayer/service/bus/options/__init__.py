# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of the methods, by topic."""
