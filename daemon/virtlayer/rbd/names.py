# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names that this process gives within a pool; those of unfinished images are in ``unfinished``."""

LAYER_SNAPSHOT = "virtlayer"
"""The snapshot of a layer, which images are cloned from."""
MARK = "virtlayer"
"""The key in an image's metadata that says that virtlayer made the image: its value is the image's
id. A clone gets the metadata of its parent, but not its id."""
