# SPDX-License-Identifier: LGPL-2.1-or-later
"""The version of what is written, apart from the code that needs libext2fs to write it."""

FORMAT_VERSION = 1
"""Part of every layer id: another version of the file system is another layer."""
