# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which image is which chain of volumes: what the service remembers, in an SQLite file."""
