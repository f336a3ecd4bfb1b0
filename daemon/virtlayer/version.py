# SPDX-License-Identifier: LGPL-2.1-or-later
"""The version, in its one place."""

VERSION = "0.2.0"
