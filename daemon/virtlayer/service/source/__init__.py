# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sources of images: references, skopeo, manifests."""
