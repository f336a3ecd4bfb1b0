# SPDX-License-Identifier: LGPL-2.1-or-later
"""What distributions get, as far as it can be judged without building a package."""
