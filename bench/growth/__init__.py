# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures what virtlayer's operations take in pools of more and more images."""
