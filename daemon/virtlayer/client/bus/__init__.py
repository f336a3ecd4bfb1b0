# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calling side of the D-Bus interface."""
