# SPDX-License-Identifier: LGPL-2.1-or-later
"""The records of a pool, and their JSON: composed, and parsed as untrusted input."""
