# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connects the user's terminal, or pipes, with the streams of a machine."""
