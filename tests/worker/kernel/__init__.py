# SPDX-License-Identifier: LGPL-2.1-or-later
"""The workers that read kernels, modules and initrds, as real processes."""
