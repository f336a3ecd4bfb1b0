# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads what a machine boots with out of an image or of the host: kernel, modules, initrd."""
