# SPDX-License-Identifier: LGPL-2.1-or-later
"""The job engine: queue, progress, cancel, results."""
