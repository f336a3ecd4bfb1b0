# SPDX-License-Identifier: LGPL-2.1-or-later
"""What virtlayer is measured against; each starts from the registry and ends on disk."""
