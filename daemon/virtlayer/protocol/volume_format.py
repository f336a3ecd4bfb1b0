# SPDX-License-Identifier: LGPL-2.1-or-later
"""The version of the volume format, separate from the code that needs libext2fs."""

FORMAT_VERSION = 1
"""Part of every layer id: another version of the file system is another layer."""
CLUSTER_SIZE = 64 * 1024
"""Bytes of a qcow2 cluster: qemu's default. 16 KiB would save a part of a tiny layer's 0.6 MB, but
make four times the tables and allocations of a large one, in every machine that runs on it."""
