# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same entries onto a directory of the host, in a process that sees nothing else of it."""
