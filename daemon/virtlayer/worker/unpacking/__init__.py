# SPDX-License-Identifier: LGPL-2.1-or-later
"""A sandboxed process that decompresses a blob, so that the service can hash the result."""
