# SPDX-License-Identifier: LGPL-2.1-or-later
"""Storage pools and their volumes; the only importer of libvirt."""
