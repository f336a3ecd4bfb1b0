# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records commands in a real terminal as an animated picture for the README."""
