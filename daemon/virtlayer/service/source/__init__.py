# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the bytes of an image come from: references, skopeo, manifests."""
