# SPDX-License-Identifier: LGPL-2.1-or-later
"""The output and input of machines, for callers that read and type."""
