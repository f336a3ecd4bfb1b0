# SPDX-License-Identifier: LGPL-2.1-or-later
"""The catalog: images and their chains of volumes, in an SQLite file."""
