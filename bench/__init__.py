# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benchmark: virtlayer beside everything else that a user could pick, on the same images."""
