# SPDX-License-Identifier: LGPL-2.1-or-later
"""Values that are passed between our processes, checked where they are made."""
