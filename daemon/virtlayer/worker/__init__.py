# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sandboxed processes that parse the contents of images."""
