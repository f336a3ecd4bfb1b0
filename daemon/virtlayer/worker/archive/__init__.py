# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers as archives: compression, tar headers, and the digest of what comes out."""
