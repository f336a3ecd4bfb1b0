# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one layer does to a file system."""
