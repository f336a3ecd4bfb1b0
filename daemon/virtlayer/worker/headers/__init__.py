# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads headers of image files, which are untrusted."""
