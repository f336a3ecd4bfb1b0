# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the records of a pool say, and their JSON: composed, and parsed as untrusted input."""
