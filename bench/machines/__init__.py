# SPDX-License-Identifier: LGPL-2.1-or-later
"""The contestants of the case about machines."""
