# SPDX-License-Identifier: LGPL-2.1-or-later
"""Values that cross the borders between our processes, checked where they are made."""
