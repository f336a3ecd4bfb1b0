# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gives up the rights of a worker before it reads untrusted data."""
