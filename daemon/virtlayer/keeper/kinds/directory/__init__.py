# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools whose volumes are files in a directory: libvirt's types dir, fs and netfs."""
