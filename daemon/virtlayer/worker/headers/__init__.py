# SPDX-License-Identifier: LGPL-2.1-or-later
"""Headers of image files that anybody may have written."""
