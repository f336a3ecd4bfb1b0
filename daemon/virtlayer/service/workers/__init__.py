# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service's end of the conversations with worker processes."""
