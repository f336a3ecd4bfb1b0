# SPDX-License-Identifier: LGPL-2.1-or-later
"""A sandboxed process that decompresses a blob, so that somebody else can hash what comes out."""
