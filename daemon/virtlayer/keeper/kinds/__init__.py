# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kinds of pools, one module or folder each."""
